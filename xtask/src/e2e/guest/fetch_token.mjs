// Node's fetch with the placeholder of $TOKEN in a header. usage: node fetch_token.mjs URL

const response = await fetch(process.argv[2], { headers: { "X-Token": process.env.TOKEN } });
console.log(response.status, [...response.headers], await response.text());
