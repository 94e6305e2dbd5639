// node's `ws`: a set of sockets, and a loop that sends to each of them.
import { WebSocketServer } from "ws";

const subscribers = new Set();
const server = new WebSocketServer({ port: Number(process.argv[2]), host: "127.0.0.1", perMessageDeflate: false, backlog: 4096 });

server.on("connection", (socket) => {
  let known = false;
  socket.on("close", () => subscribers.delete(socket));
  socket.on("message", (data) => {
    const text = data.toString();
    if (!known) {
      known = true;
      if (text === "subscribe") subscribers.add(socket);
      socket.send("ready");
      return;
    }
    for (const subscriber of subscribers) subscriber.send(text);
  });
});
