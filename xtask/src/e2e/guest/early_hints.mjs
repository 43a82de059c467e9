// Node's HTTP/2, which tells of answers before the answer. usage: node early_hints.mjs ORIGIN PATH

import { connect } from 'node:http2';

const [origin, path] = process.argv.slice(2);
const session = connect(origin);
const stream = session.request({ ':path': path });
stream.on('headers', (head) => console.log('before', head[':status'], head.link));
stream.on('response', (head) => console.log('answer', head[':status']));
stream.setEncoding('utf8');
for await (const text of stream) process.stdout.write(text);
session.close();
