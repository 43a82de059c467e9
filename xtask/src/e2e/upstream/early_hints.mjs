// Answers after a hint (103), over HTTP/2 on port 8443 and over HTTP/1.1 on port 8444.
//
// usage: node early_hints.mjs LOG CERTIFICATE KEY ADDRESS...

import { appendFileSync, readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';

const [log, certificate, key, ...addresses] = process.argv.slice(2);
const options = { cert: readFileSync(certificate), key: readFileSync(key) };

function answer(request, response) {
  appendFileSync(log, `early_hints ${request.url} HTTP/${request.httpVersion}\n`);
  response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
  setTimeout(() => response.end('hello after a hint\n'), 50);
}

for (const address of addresses) {
  createSecureServer(options, answer).listen(8443, address);
  createServer(options, answer).listen(8444, address);
}
