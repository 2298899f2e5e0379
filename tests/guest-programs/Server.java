// SPDX-License-Identifier: Apache-2.0
// Server [PORT]: the same web server as server.js, as programs in Java have it.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Server {
	static void send(HttpExchange exchange, long length, byte[] body) throws IOException {
		exchange.sendResponseHeaders(200, length);
		try (OutputStream out = exchange.getResponseBody()) {
			for (long left = length; left > 0; left -= body.length)
				out.write(body, 0, (int)Math.min(left, body.length));
		}
	}

	static void handle(HttpExchange exchange) throws IOException {
		String path = exchange.getRequestURI().getPath();
		byte[] text;
		if (path.startsWith("/bytes/")) {
			byte[] block = new byte[65536];
			send(exchange, Long.parseLong(path.substring(7)), block);
			return;
		}
		if (exchange.getRequestMethod().equals("POST")) {
			long count;
			try (InputStream in = exchange.getRequestBody()) {
				count = in.transferTo(OutputStream.nullOutputStream());
			}
			text = (count + "\n").getBytes();
		} else {
			text = (exchange.getRemoteAddress().getAddress().getHostAddress() + "\n").getBytes();
		}
		send(exchange, text.length, text);
	}

	public static void main(String[] args) throws IOException {
		HttpServer server = HttpServer.create(new InetSocketAddress(args.length > 0 ? Integer.parseInt(args[0]) : 8000), 512);
		server.createContext("/", Server::handle);
		server.setExecutor(Executors.newCachedThreadPool());
		server.start();
		System.out.println("listening");
	}
}
