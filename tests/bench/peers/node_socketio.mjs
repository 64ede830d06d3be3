// Peer: Socket.IO for Node in one process, over WebSocket alone and without compression.
//   node node_socketio.mjs PORT
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false });

io.on("connection", (socket) => {
  socket.on("join", ({ room }) => {
    socket.join(room);
    socket.data.room = room;
    socket.emit("joined", {});
  });
  socket.on("message", (message) => io.to(socket.data.room).emit("message", message));
});

http.listen(Number(process.argv[2]), "127.0.0.1");
