// A conversation of stock socket.io-client members, told as one line of JSON for the test that started this:
//
//     node stock_members.mjs DIRECTOR ROOM MODE      MODE: upgrade, polling or websocket
//
// It uses nothing of lecturehall's own client: only what PROTOCOL.md says.
import { once } from "node:events";

import { io } from "socket.io-client";

const [director, room, mode] = process.argv.slice(2);
const TRANSPORTS = { upgrade: ["polling", "websocket"], polling: ["polling"], websocket: ["websocket"] }[mode];
const EACH = 60;

const routeFor = async (user) => {
  const query = new URLSearchParams({ room, user, name: user, role: "lecturer" });
  return (await fetch(`${director}/route?${query}`)).json();
};

function connect({ url, path }, auth) {
  return io(url, { path, auth, transports: TRANSPORTS, forceNew: true, reconnection: false });
}

/** A member who notes what comes, in the order in which it comes. */
async function join(user, since = null) {
  const route = await routeFor(user);
  const socket = connect(route, { v: 1, ticket: route.ticket, since, tail: 50 });
  const member = { socket, user, route, events: [], seqs: [], texts: [], position: since };
  const apply = (entries, position) => {
    member.seqs.push(...entries.map(({ seq }) => seq));
    member.texts.push(...entries.map(({ text }) => text));
    member.position = position;
  };
  for (const name of ["connect", "joined", "frame", "gap", "bye"]) socket.on(name, () => member.events.push(name));
  socket.on("frame", ({ log, epoch, from, to, entries }) => {
    if (from !== member.position.seq + 1) member.events.push(`a hole before ${from}`);
    apply(entries, { log, epoch, seq: to });
  });
  const joined = new Promise((resolve, reject) => {
    socket.on("joined", (answer) => {
      apply(answer.entries, answer.pos);
      resolve(answer);
    });
    socket.on("connect_error", reject);
  });
  member.joined = await joined;
  return member;
}

async function send(member, text) {
  const cid = crypto.randomUUID();
  for (;;) {
    const ack = await member.socket.timeout(10_000).emitWithAck("send", { cid, text });
    if (ack.ok || !ack.error.temporary) return ack;
    await new Promise((resolve) => setTimeout(resolve, ack.error.retry_after_ms));
  }
}

const until = (member, seq) =>
  new Promise((resolve) => {
    const look = () => member.position.seq >= seq && resolve();
    member.socket.on("frame", look);
    look();
  });

async function refusalOf(route, ticket) {
  const socket = connect(route, { v: 1, ticket, since: null, tail: 0 });
  const [error] = await once(socket, "connect_error");
  socket.disconnect();
  return { message: error.message, data: error.data };
}

const [ada, bob] = [await join("ada"), await join("bob")];
const acks = [];
const talk = async (member) => {
  for (let i = 0; i < EACH; i += 4) {
    const texts = Array.from({ length: 4 }, (_, j) => `${member.user} ${i + j}`);
    acks.push(...(await Promise.all(texts.map((text) => send(member, text))))); // at most 8 may be in flight
  }
};
const talking = Promise.all([talk(ada), talk(bob)]);
await until(ada, EACH / 2);
const cat = await join("cat"); // she comes, and upgrades, in the middle of it
await talking;
await Promise.all([ada, bob, cat].map((member) => until(member, 2 * EACH)));

const left = bob.position;
bob.socket.disconnect();
for (let i = 0; i < 5; i += 1) acks.push(await send(ada, `while bob was away ${i}`));
const back = await join("bob", left);
acks.push(await send(back, "bob is back"));
await Promise.all([until(ada, 2 * EACH + 6), until(back, 2 * EACH + 6)]);

await until(cat, 2 * EACH + 6);

// the attachment follows the event: it must be taken for neither an answer nor the next event
const asked = (event, body) => ada.socket.timeout(10_000).emitWithAck(event, body);
const [binary, unknownBinary, after] = await Promise.all([
  asked("send", { cid: "binary", text: new Uint8Array([1, 2, 3]) }),
  asked("no-such-event", new Uint8Array(300)),
  asked("members", {}),
]);
const unknown = await ada.socket.timeout(10_000).emitWithAck("no-such-event", {});
const malformed = await ada.socket.timeout(10_000).emitWithAck("send", { cid: "b", text: 7 });
const forged = await refusalOf(ada.route, "forged");
const missing = await refusalOf(ada.route, "");

const tell = ({ events, seqs, texts, joined, socket }) => ({
  events,
  seqs,
  texts,
  recovered: joined.recovered,
  transport: socket.io.engine?.transport?.name ?? null,
});
const told = { ada: tell(ada), bob: tell(bob), cat: tell(cat), back: tell(back) };
Object.assign(told, { acks, binary, unknownBinary, after, unknown, malformed, forged, missing });
for (const { socket } of [ada, cat, back]) socket.disconnect();
// a poll that the client has given up would keep Node alive until the server's next ping
process.stdout.write(JSON.stringify(told), () => process.exit(0));
