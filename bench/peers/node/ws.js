// Relays each message to whoever connected under the path of the pair's other side: /7a to /7b.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const sockets = new Map();
const other = (path) => path.slice(0, -1) + (path.endsWith("a") ? "b" : "a");

const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });
server.on("connection", (socket, request) => {
  const partner = other(request.url);
  sockets.set(request.url, socket);
  socket.on("message", (data, isBinary) => sockets.get(partner)?.send(data, { binary: isBinary }));
  socket.on("close", () => sockets.delete(request.url));
  socket.on("error", () => {});
  socket.send("ready");
});
http.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${http.address().port}`));
