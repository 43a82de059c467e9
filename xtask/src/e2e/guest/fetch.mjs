// Node's fetch, with default settings. usage: node fetch.mjs URL
//
// Prints the status and the page; what is wrong is thrown, as to whoever calls it.

const response = await fetch(process.argv[2]);
console.log(response.status, await response.text());
