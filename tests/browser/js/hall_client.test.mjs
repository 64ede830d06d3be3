// The rules of PROTOCOL.md section 7, one by one, on a clock that jumps.
import assert from "node:assert/strict";
import { test } from "node:test";

import { EntryOrder, HallClient, newCid } from "../../../director/web/hall-client.js";
import { clientOf, entries, entry, frame, joined, refusal, routeTo } from "./fakes.mjs";

const live = async (options, j = joined(3)) => {
  const hall = await clientOf(HallClient, options);
  hall.socket.says("joined", j);
  return hall;
};

test("it asks the director who it is, and joins where it is told, as the protocol says", async () => {
  const hall = await clientOf(HallClient, { tail: 20 });
  assert.equal(hall.asked[0].href, "http://d/route?room=r&user=ada&name=Ada&role=student");
  const { url, options, connecting } = hall.socket;
  assert.equal(url, "http://node-1");
  assert.deepEqual(options.auth, { v: 1, ticket: "ticket-node-1", since: null, tail: 20 });
  assert.equal(options.path, "/socket.io/");
  assert.ok(options.forceNew && options.reconnection === false && connecting);
});

test("a token is asked for at each route and takes the place of the identity", async () => {
  const seen = [];
  const fetch = async (url, { headers }) => {
    seen.push([url, headers.Authorization]);
    return { status: 200, json: async () => routeTo("node-1") };
  };
  const hall = await clientOf(HallClient, { fetch, token: async () => `t${seen.length}` });
  hall.socket.says("connect_error", { message: "X", data: refusal("NOT_OWNER", "reroute") });
  await hall.clock.pass(1);
  assert.deepEqual(seen, [["http://d/route?room=r", "Bearer t0"], ["http://d/route?room=r", "Bearer t1"]]);
});

test("frames are applied in order, what overlaps is cut, and the position follows", async () => {
  const hall = await live();
  hall.socket.says("frame", frame(4, 5));
  hall.socket.says("frame", frame(2, 6));
  hall.socket.says("frame", frame(1, 4));
  assert.deepEqual(hall.told.entries, [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(hall.client.position, { log: "L", epoch: 7, seq: 6 });
});

test("a frame that comes early waits for the one before it", async () => {
  const hall = await live();
  hall.socket.says("frame", frame(6, 7));
  hall.socket.says("frame", frame(8, 8));
  assert.deepEqual(hall.told.entries, [1, 2, 3]);
  await hall.clock.pass(999);
  hall.socket.says("frame", frame(4, 5));
  await hall.clock.pass(5_000);
  assert.deepEqual(hall.told.entries, [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(hall.sockets.length, 1);
});

test("a hole that is open for a second is a fault: it joins again from its position", async () => {
  const hall = await live();
  hall.socket.says("frame", frame(6, 7));
  await hall.clock.pass(1_001);
  assert.equal(hall.sockets.length, 2);
  assert.ok(hall.sockets[0].disconnected);
  assert.deepEqual(hall.socket.options.auth.since, { log: "L", epoch: 7, seq: 3 });
  hall.socket.says("joined", joined(8, { recovered: true, entries: entries(4, 8) }));
  assert.deepEqual(hall.told.entries, [1, 2, 3, 4, 5, 6, 7, 8]);
});

test("a gap closes a hole, gives its staff entries and moves the position", async () => {
  const hall = await live();
  hall.socket.says("frame", frame(10, 10));
  hall.socket.says("gap", frame(4, 9, { entries: [entry(6)] }));
  assert.deepEqual(hall.told.entries, [1, 2, 3, 6, 10]);
  assert.deepEqual(hall.told.batches[0], { from: 4, to: 9, entries: [entry(6)], gap: true });
  assert.equal(hall.client.position.seq, 10);
  await hall.clock.pass(2_000);
  assert.equal(hall.sockets.length, 1);
});

test("the position is stored after an entry was applied, never before", async () => {
  const hall = await live();
  const seen = [];
  hall.client.on("entries", () => seen.push(hall.client.position.seq));
  hall.socket.says("frame", frame(4, 4));
  hall.socket.says("frame", frame(5, 5));
  assert.deepEqual(seen, [3, 4]);
});

test("a listener that throws costs neither order nor position", async (t) => {
  const hall = await live();
  const errors = t.mock.method(console, "error", () => {});
  hall.client.on("entries", () => {
    throw new Error("mine");
  });
  hall.socket.says("frame", frame(4, 4));
  assert.equal(hall.client.position.seq, 4);
  assert.equal(errors.mock.callCount(), 1);
});

for (const [what, bad] of [
  ["of another log", frame(4, 4, { log: "other" })],
  ["of an older epoch", frame(4, 4, { epoch: 6 })],
]) {
  test(`a frame ${what} is never applied: it joins again`, async () => {
    const hall = await live();
    hall.socket.says("frame", bad);
    await hall.clock.pass(1);
    assert.deepEqual(hall.told.entries, [1, 2, 3]);
    assert.equal(hall.sockets.length, 2);
  });
}

test("a newer epoch raises the position's, and nothing lowers it", () => {
  const order = new EntryOrder({ log: "L", epoch: 7, seq: 3 });
  for (const due of order.take(frame(4, 4, { epoch: 9 }))) assert.equal(due.to, 4);
  assert.deepEqual(order.position, { log: "L", epoch: 9, seq: 4 });
  order.begin(joined(5, { recovered: true, entries: entries(5, 5) })).done();
  assert.equal(order.position.epoch, 9);
});

test("a resume cuts what it has already, and one with a hole is not believed", async () => {
  const hall = await live();
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(1);
  hall.socket.says("joined", joined(5, { recovered: true, entries: entries(2, 5) }));
  assert.deepEqual(hall.told.entries, [1, 2, 3, 4, 5]);
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(500);
  hall.socket.says("joined", joined(9, { recovered: true, entries: entries(8, 9) }));
  await hall.clock.pass(1_000);
  assert.equal(hall.socket.options.auth.since, null);
  hall.socket.says("joined", joined(9, { entries: entries(7, 9) }));
  assert.deepEqual(hall.told.entries, [7, 8, 9]);
});

test("when not recovered all former entries are forgotten", async () => {
  const hall = await live();
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(1);
  const pos = { log: "M", epoch: 2, seq: 2 };
  hall.socket.says("joined", joined(2, { pos, reason: "new_log" }));
  assert.deepEqual(hall.told.entries, [1, 2]);
  assert.equal(hall.told.joined.at(-1).reset, true);
  assert.deepEqual(hall.client.position, pos);
});

test("frames that come before joined wait for it", async () => {
  const hall = await clientOf(HallClient);
  hall.socket.says("frame", frame(4, 4));
  hall.socket.says("joined", joined(3));
  assert.deepEqual(hall.told.entries, [1, 2, 3, 4]);
});

test("no joined after 15 s: it disconnects and asks the director again", async () => {
  const hall = await clientOf(HallClient);
  await hall.clock.pass(14_999);
  assert.equal(hall.asked.length, 1);
  await hall.clock.pass(2);
  assert.ok(hall.sockets[0].disconnected);
  assert.equal(hall.asked[1].searchParams.get("failed"), "node-1");
});

test("a loss without a word names the node that failed; the next loss names the next node", async () => {
  const hall = await live({ answers: [routeTo("node-1"), routeTo("node-2")] });
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(1);
  assert.equal(hall.asked[1].searchParams.get("failed"), "node-1");
  assert.equal(hall.socket.url, "http://node-2");
  hall.socket.says("connect_error", new Error("xhr poll error"));
  await hall.clock.pass(600);
  assert.equal(hall.asked[2].searchParams.get("failed"), "node-2");
});

test("the hint is repeated until the director has answered", async () => {
  const unsure = refusal("OWNER_UNCONFIRMED", "retry", 700);
  const hall = await live({ answers: [routeTo("node-1"), unsure, new Error("down"), routeTo("node-2")] });
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(1);
  await hall.clock.pass(698);
  assert.equal(hall.asked.length, 2);
  await hall.clock.pass(5_000);
  assert.deepEqual(hall.asked.slice(1).map((url) => url.searchParams.get("failed")), ["node-1", "node-1", "node-1"]);
  assert.equal(hall.socket.url, "http://node-2");
});

test("the first try after a loss is spread over the room's window, the next ones over a doubling one", async () => {
  const hall = await live({ chance: 1, answers: [routeTo("node-1"), new Error("down")] });
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(120_000);
  const waits = hall.told.states.filter(({ state }) => state === "waiting").map(({ inMs }) => inMs);
  assert.deepEqual(waits.slice(0, 8), [400, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000]);
  assert.equal(waits.at(-1), 20_000);
});

test("ten seconds live make up for the tries before", async () => {
  const waits = async (liveFor) => {
    const hall = await live({ chance: 1, answers: [routeTo("node-1")] });
    hall.socket.says("disconnect", "transport close");
    await hall.clock.pass(400);
    hall.socket.says("connect_error", new Error("refused"));
    await hall.clock.pass(500);
    hall.socket.says("connect_error", new Error("refused"));
    await hall.clock.pass(1_000);
    hall.socket.says("joined", joined(3, { recovered: true, entries: [] }));
    await hall.clock.pass(liveFor);
    hall.socket.says("disconnect", "transport close");
    return hall.told.states.at(-1).inMs;
  };
  assert.equal(await waits(9_999), 2_000);
  assert.equal(await waits(10_000), 400);
});

test("retry_after_ms is a lower bound, also for somebody in a hurry", async () => {
  const hall = await clientOf(HallClient, { answers: [refusal("NO_NODES", "retry", 3_000), routeTo("node-1")] });
  hall.client.hurry();
  await hall.clock.pass(2_999);
  assert.equal(hall.asked.length, 1);
  await hall.clock.pass(1);
  assert.equal(hall.asked.length, 2);
});

test("hurry cuts a wait of our own short", async () => {
  const hall = await live({ chance: 1 });
  hall.socket.says("disconnect", "transport close");
  hall.client.hurry();
  await hall.clock.pass(0);
  assert.equal(hall.sockets.length, 2);
});

test("connect_after_ms is kept, also in a hurry", async () => {
  const hall = await clientOf(HallClient, { answers: [routeTo("node-1", { connect_after_ms: 250 })] });
  hall.client.hurry();
  await hall.clock.pass(249);
  assert.equal(hall.sockets.length, 0);
  await hall.clock.pass(1);
  assert.equal(hall.sockets.length, 1);
});

test("a join refused with retry goes to the same place with the same ticket while that lasts", async () => {
  const hall = await clientOf(HallClient, { answers: [routeTo("node-1", { ticket_expires_in_ms: 1_000 })] });
  hall.socket.says("connect_error", { message: "BUSY", data: refusal("BUSY", "retry", 600) });
  await hall.clock.pass(600);
  assert.deepEqual([hall.asked.length, hall.sockets.length], [1, 2]);
  hall.socket.says("connect_error", { message: "BUSY", data: refusal("BUSY", "retry", 600) });
  await hall.clock.pass(600);
  assert.deepEqual([hall.asked.length, hall.sockets.length], [2, 3]);
  assert.equal(hall.asked[1].searchParams.get("failed"), null);
});

test("a join refused with reroute asks the director, without blaming the node", async () => {
  const hall = await clientOf(HallClient);
  hall.socket.says("connect_error", { message: "NOT_OWNER", data: refusal("NOT_OWNER", "reroute") });
  await hall.clock.pass(1);
  assert.equal(hall.asked.length, 2);
  assert.equal(hall.asked[1].searchParams.get("failed"), null);
});

for (const action of ["stop", "fix", "stay"]) {
  test(`a join refused with an unknown code obeys its action: ${action} ends it`, async () => {
    const hall = await clientOf(HallClient);
    hall.socket.says("connect_error", { message: "NEW", data: refusal("NEW_CODE", action) });
    await hall.clock.pass(60_000);
    assert.deepEqual([hall.asked.length, hall.client.state, hall.client.error.code], [1, "stopped", "NEW_CODE"]);
    assert.equal(hall.clock.waiting, 0);
  });
}

for (const action of ["retry", "reroute"]) {
  test(`a refusal with an unknown code obeys its action: ${action} comes back`, async () => {
    const hall = await clientOf(HallClient);
    hall.socket.says("connect_error", { message: "NEW", data: refusal("NEW_CODE", action) });
    await hall.clock.pass(1);
    assert.equal(hall.sockets.length, 2);
  });
}

test("bye is obeyed: a reroute after its time, without blaming the node", async () => {
  const hall = await live();
  hall.socket.says("bye", { code: "SHUTDOWN", action: "reroute", retry_after_ms: 300 });
  hall.socket.says("disconnect", "io server disconnect");
  await hall.clock.pass(299);
  assert.equal(hall.asked.length, 1);
  await hall.clock.pass(1);
  assert.equal(hall.asked[1].searchParams.get("failed"), null);
  assert.deepEqual(hall.socket.options.auth.since, { log: "L", epoch: 7, seq: 3 });
});

test("bye with stop ends it and says why", async () => {
  const hall = await live();
  hall.socket.says("bye", { code: "KICKED", action: "stop", retry_after_ms: 0 });
  hall.socket.says("disconnect", "io server disconnect");
  await hall.clock.pass(60_000);
  assert.deepEqual([hall.asked.length, hall.client.state, hall.client.error.code], [1, "stopped", "KICKED"]);
});

test("a bye that no disconnect follows is taken for one; nothing is emitted after it", async () => {
  const hall = await live();
  hall.socket.says("bye", { code: "SLOW", action: "reroute", retry_after_ms: 0 });
  hall.client.send("later");
  assert.deepEqual(hall.socket.emitted, []);
  await hall.clock.pass(2_501);
  assert.equal(hall.sockets.length, 2);
  hall.socket.says("joined", joined(3, { recovered: true, entries: [] }));
  assert.equal(hall.socket.last.body.text, "later");
});

test("moved: it stays and applies until after_ms, then joins there with its position", async () => {
  const hall = await live({ chance: 1 });
  const there = { url: "http://node-9", path: "/n/9/socket.io/", node: "node-9", epoch: 8, ticket: "T9" };
  hall.socket.says("moved", { ...there, after_ms: 1_500 });
  await hall.clock.pass(1_499);
  hall.socket.says("frame", frame(4, 5));
  assert.equal(hall.sockets.length, 1);
  await hall.clock.pass(1);
  assert.ok(hall.sockets[0].disconnected);
  const { url, options } = hall.socket;
  assert.deepEqual([url, options.path, hall.asked.length], ["http://node-9", "/n/9/socket.io/", 1]);
  assert.deepEqual(options.auth, { v: 1, ticket: "T9", since: { log: "L", epoch: 7, seq: 5 }, tail: 50 });
});

test("moved and then cut off early: it still waits for its slot", async () => {
  const hall = await live();
  hall.socket.says("moved", { url: "http://node-9", path: "/", node: "node-9", epoch: 8, ticket: "T", after_ms: 900 });
  hall.socket.says("bye", { code: "MOVED", action: "reroute", retry_after_ms: 0 });
  hall.socket.says("disconnect", "io server disconnect");
  await hall.clock.pass(899);
  assert.equal(hall.client.state, "moving");
  await hall.clock.pass(1);
  assert.deepEqual([hall.sockets.length, hall.asked.length], [2, 1]);
});

test("a send goes from sending to sent, with a cid of 128 bits of chance", async () => {
  const hall = await live();
  const request = hall.client.send("e\u0301", { kind: "question", replyTo: 2 });
  const { event, body, ack } = hall.socket.last;
  assert.equal(event, "send");
  assert.deepEqual(body, { cid: request.cid, text: "\u00e9", kind: "question", reply_to: 2 });
  assert.match(request.cid, /^[0-9a-f]{32}$/);
  assert.notEqual(newCid(), newCid());
  ack({ ok: true, seq: 4, epoch: 7, at: 1, dup: false });
  assert.equal((await request.done).seq, 4);
  assert.deepEqual(hall.told.sends, ["send sending", "send sent"]);
  assert.equal(hall.client.position.seq, 3, "an ack never moves the position");
});

test("nothing is emitted before joined; what was asked then goes out after it, in order", async () => {
  const hall = await clientOf(HallClient);
  hall.client.send("one");
  hall.client.send("two");
  assert.deepEqual(hall.socket.emitted, []);
  hall.socket.says("joined", joined(3));
  assert.deepEqual(hall.socket.emitted.map(({ body }) => body.text), ["one", "two"]);
});

test("no ack after 10 s means unknown: it asks again with the same cid", async () => {
  const hall = await live();
  const request = hall.client.send("hello");
  await hall.clock.pass(10_001);
  assert.deepEqual(hall.socket.emitted.map(({ body }) => body.cid), [request.cid, request.cid]);
  hall.socket.emitted[0].ack({ ok: true, seq: 4, epoch: 7, at: 1, dup: false });
  assert.equal(request.state, "sent");
});

test("a send survives a reconnection with the same cid, and is sent once its entry is seen", async () => {
  const hall = await live();
  const [seen, lost] = [hall.client.send("seen"), hall.client.send("lost")];
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(1);
  const mine = entry(4, { cid: seen.cid, by: { id: "ada", name: "Ada", role: "student" } });
  const another = entry(5, { cid: lost.cid });
  hall.socket.says("joined", joined(5, { recovered: true, entries: [mine, another] }));
  assert.equal(seen.state, "sent");
  assert.equal(lost.state, "sending", "the same cid of another author is another's");
  assert.deepEqual(hall.socket.emitted.map(({ body }) => body.cid), [lost.cid]);
});

test("a temporary refusal is repeated with the same cid after its time, and keeps the order", async () => {
  const hall = await live();
  const [one, two] = [hall.client.send("one"), hall.client.send("two")];
  const [first, second] = hall.socket.emitted;
  first.ack(refusal("FROZEN", "retry", 400));
  second.ack(refusal("FROZEN", "retry", 400));
  await hall.clock.pass(399);
  assert.equal(hall.socket.emitted.length, 2);
  await hall.clock.pass(1);
  assert.deepEqual(hall.socket.emitted.slice(2).map(({ body }) => body.cid), [one.cid, two.cid]);
});

test("slow mode holds sends back, and nothing else", async () => {
  const hall = await live();
  hall.client.send("one");
  hall.socket.last.ack(refusal("SLOW_MODE", "retry", 5_000));
  hall.client.history({ before: 3, limit: 20 });
  assert.deepEqual([hall.socket.last.event, hall.socket.last.body], ["history", { before: 3, limit: 20 }]);
});

test("a retry that would come too late fails at once, and may be tried again by hand", async () => {
  const hall = await live();
  const request = hall.client.send("hello");
  hall.socket.last.ack(refusal("SLOW_MODE", "retry", 90_000));
  await assert.rejects(request.done, { code: "SLOW_MODE" });
  hall.client.retry(request);
  assert.deepEqual([request.state, hall.socket.last.body.cid], ["sending", request.cid]);
});

test("a send that finds nobody for a minute fails", async () => {
  const hall = await clientOf(HallClient, { chance: 1, answers: [new Error("down")] });
  const request = hall.client.send("hello");
  await hall.clock.pass(60_000);
  await assert.rejects(request.done, { code: "TIMED_OUT" });
});

for (const [code, action] of [["MODE_CLOSED", "stay"], ["TOO_LARGE", "fix"], ["FORBIDDEN", "stop"]]) {
  test(`${code} fails the send and leaves the connection alone`, async () => {
    const hall = await live();
    const request = hall.client.send("hello");
    hall.socket.last.ack(refusal(code, action));
    await assert.rejects(request.done, { code });
    await hall.clock.pass(20_000);
    assert.deepEqual([hall.client.state, hall.sockets.length], ["live", 1]);
  });
}

test("a send refused with reroute takes the client to the room's owner, and goes there", async () => {
  const hall = await live({ answers: [routeTo("node-1"), routeTo("node-2")] });
  const request = hall.client.send("hello");
  hall.socket.last.ack(refusal("NOT_OWNER", "reroute"));
  await hall.clock.pass(1);
  hall.socket.says("joined", joined(3, { recovered: true, entries: [] }));
  assert.deepEqual([hall.socket.url, hall.socket.last.body.cid], ["http://node-2", request.cid]);
});

test("at most eight requests are in flight at once", async () => {
  const hall = await live();
  for (let i = 0; i < 12; i += 1) hall.client.send(`${i}`);
  assert.equal(hall.socket.emitted.length, 8);
  hall.socket.emitted[0].ack({ ok: true, seq: 4, epoch: 7, at: 1, dup: false });
  assert.equal(hall.socket.emitted.length, 9);
});

test("what is asked without bound is refused", async () => {
  const hall = await clientOf(HallClient, { chance: 1, answers: [new Error("down")] });
  const requests = Array.from({ length: 201 }, () => hall.client.send("x"));
  await assert.rejects(requests.at(-1).done, { code: "BUSY" });
});

test("delete, notice and mode carry their own cid", async () => {
  const hall = await live();
  hall.client.delete(2);
  hall.client.notice(null);
  hall.client.mode("staff", 5_000);
  const sent = hall.socket.emitted.map(({ event, body: { cid, ...body } }) => [event, cid.length, body]);
  assert.deepEqual(sent, [
    ["delete", 32, { target: 2 }],
    ["notice", 32, { text: null }],
    ["mode", 32, { mode: "staff", slow_ms: 5_000 }],
  ]);
});

test("the standing state follows snapshot, entries and counts", async () => {
  const hall = await live();
  hall.socket.says("frame", frame(4, 5, { entries: [entry(4, { kind: "notice", text: "Exam" }), entry(5, { kind: "mode", mode: "staff", slow_ms: 9 })] }));
  hall.socket.says("ambient", { members: 40, reactions: {} });
  assert.deepEqual(hall.client.standing, { mode: "staff", slow_ms: 9, notice: "Exam", members: 40 });
});

test("what a former connection still says is not heard", async () => {
  const hall = await live();
  const old = hall.socket;
  old.says("disconnect", "transport close");
  old.says("frame", frame(4, 4));
  await hall.clock.pass(1);
  old.says("joined", joined(9));
  old.says("disconnect", "again");
  assert.deepEqual([hall.told.entries, hall.sockets.length], [[1, 2, 3], 2]);
});

test("close leaves for good: no timer, no try, open requests fail", async () => {
  const hall = await live();
  const request = hall.client.send("hello");
  hall.client.close();
  await assert.rejects(request.done, { code: "CLOSED" });
  assert.deepEqual([hall.socket.disconnected, hall.client.state, hall.clock.waiting], [true, "stopped", 0]);
  hall.client.start();
  await hall.clock.pass(0);
  assert.deepEqual(hall.socket.options.auth.since, { log: "L", epoch: 7, seq: 3 });
});

test("close in the middle of a move leaves nothing behind", async () => {
  const hall = await live();
  hall.socket.says("moved", { url: "http://n", path: "/", node: "n", epoch: 8, ticket: "T", after_ms: 900 });
  hall.client.close();
  assert.equal(hall.clock.waiting, 0);
  await hall.clock.pass(2_000);
  assert.equal(hall.sockets.length, 1);
});

test("a node that was blamed once is not blamed for what comes later", async () => {
  const hall = await live();
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(1);
  hall.socket.says("joined", joined(3, { recovered: true, entries: [] }));
  hall.socket.says("bye", { code: "DRAINING", action: "reroute", retry_after_ms: 0 });
  hall.socket.says("disconnect", "io server disconnect");
  await hall.clock.pass(1_000);
  assert.deepEqual(hall.asked.map((url) => url.searchParams.get("failed")), [null, "node-1", null]);
});

test("a loss soon after another is spread over the room's window too", async () => {
  const big = joined(3, { recovered: true, entries: [], reconnect_window_ms: 9_000 });
  const hall = await live({ chance: 1 }, joined(3, { reconnect_window_ms: 9_000 }));
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(9_000);
  hall.socket.says("joined", big);
  hall.socket.says("disconnect", "transport close");
  assert.equal(hall.told.states.at(-1).inMs, 9_000);
});

test("those who are told the same time do not come back at the same time", async () => {
  const hall = await clientOf(HallClient, { chance: 1, answers: [refusal("NO_NODES", "retry", 3_000)] });
  assert.equal(hall.told.states.at(-1).inMs, 3_500);
});

test("an answer from a former connection decides nothing", async () => {
  const hall = await live();
  const request = hall.client.send("hello");
  const { ack } = hall.socket.last;
  hall.socket.says("disconnect", "transport close");
  await hall.clock.pass(1);
  hall.socket.says("joined", joined(3, { recovered: true, entries: [] }));
  ack(refusal("BAD_REQUEST", "fix"));
  assert.equal(request.state, "sending");
});

test("epochs never fall, whatever was held", () => {
  const order = new EntryOrder({ log: "L", epoch: 7, seq: 3 });
  assert.deepEqual([...order.take(frame(5, 5))], []);
  assert.deepEqual([...order.take(frame(4, 4, { epoch: 9 }))].map(({ from }) => from), [4, 5]);
  assert.deepEqual(order.position, { log: "L", epoch: 9, seq: 5 });
});
