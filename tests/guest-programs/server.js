// SPDX-License-Identifier: Apache-2.0
// server.js [PORT]: a web server as programs in Node have it: keep-alive, and a body of any size that is asked for.
//	GET /who	the client's address
//	GET /bytes/N	N bytes, streamed
//	POST /		the number of bytes in the request's body
const http = require('http');
const { Readable } = require('stream');

function* blocks(count) {
	for (const block = Buffer.alloc(65536, 'x'); count > 0; count -= block.length)
		yield block.subarray(0, count);
}

const server = http.createServer((request, response) => {
	const bytes = /^\/bytes\/(\d+)$/.exec(request.url);
	if (bytes) {
		response.setHeader('Content-Length', bytes[1]);
		Readable.from(blocks(Number(bytes[1]))).pipe(response);
	} else if (request.method === 'POST') {
		let count = 0;
		request.on('data', (data) => count += data.length);
		request.on('end', () => response.end(`${count}\n`));
	} else {
		response.end(`${request.socket.remoteAddress}\n`);
	}
});
server.keepAliveTimeout = 60000;
server.listen(Number(process.argv[2] || 8000), () => console.log('listening'));
