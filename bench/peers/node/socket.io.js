// Relays each event to whoever connected under the name of the pair's other side: 7a to 7b.
import { createServer } from "node:http";
import { Server } from "socket.io";

const sockets = new Map();
const other = (name) => name.slice(0, -1) + (name.endsWith("a") ? "b" : "a");

const http = createServer();
const server = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
server.on("connection", (socket) => {
  const name = socket.handshake.query.name;
  const partner = other(name);
  sockets.set(name, socket);
  socket.on("m", (data) => sockets.get(partner)?.emit("m", data));
  socket.on("disconnect", () => sockets.delete(name));
});
http.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${http.address().port}`));
