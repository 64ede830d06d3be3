// What the classroom page keeps and decides, without a page: transcript, outgoing, words, door, faces.
import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, isComplete, newUser, visitorOf } from "../../../director/web/door.js";
import { en } from "../../../director/web/i18n/en.js";
import { ko } from "../../../director/web/i18n/ko.js";
import { languageOf, Words } from "../../../director/web/i18n/words.js";
import { excerpt, initials } from "../../../director/web/line-view.js";
import { Outgoing } from "../../../director/web/outgoing.js";
import { Transcript } from "../../../director/web/transcript.js";
import { entries, entry } from "./fakes.mjs";

const seqs = (lines) => lines.map((line) => (line.gap ? `${line.from}..${line.to}:${line.count}` : line.seq));

const begun = (from, to, options) => {
  const transcript = new Transcript(options);
  transcript.reset(entries(from, to));
  return transcript;
};

test("the newest lines are kept and what is before them is in the history", () => {
  const transcript = begun(1, 3, { max: 5 });
  assert.equal(transcript.earlierThan, null);
  transcript.append({ entries: entries(4, 8) });
  assert.deepEqual(seqs(transcript.lines), [4, 5, 6, 7, 8]);
  assert.equal(transcript.earlierThan, 4);
});

test("while the reader looks at something older the lines stand still, and the news are counted", () => {
  const transcript = begun(1, 3, { max: 5 });
  transcript.pause();
  transcript.append({ entries: entries(4, 20) });
  assert.deepEqual([seqs(transcript.lines), transcript.unread], [[1, 2, 3], 17]);
  assert.equal(transcript.tail.length, 5, "what is held is bounded");
  transcript.follow();
  assert.deepEqual([seqs(transcript.lines), transcript.unread], [[16, 17, 18, 19, 20], 0]);
  assert.equal(transcript.earlierThan, 16);
});

test("earlier pages come before, and the newest lines give way where that grows too long", () => {
  const transcript = begun(50, 52, { max: 4, mostShown: 6 });
  transcript.prepend(entries(45, 49), { more: true });
  assert.deepEqual(seqs(transcript.lines), [45, 46, 47, 48, 49, 50]);
  assert.equal(transcript.earlierThan, 45);
  transcript.prepend(entries(43, 44), { more: false });
  assert.equal(transcript.earlierThan, null);
  transcript.follow();
  assert.deepEqual([seqs(transcript.lines), transcript.earlierThan], [[50, 51, 52], 50]);
});

test("a short page that fits stays when the reader goes back to the newest", () => {
  const transcript = begun(3, 4, { max: 10 });
  transcript.prepend(entries(1, 2), { more: false });
  transcript.follow();
  assert.deepEqual([seqs(transcript.lines), transcript.earlierThan], [[1, 2, 3, 4], null]);
});

test("a page of nothing but deletions still leads further back", () => {
  const transcript = begun(10, 12);
  transcript.prepend([entry(8, { kind: "delete", target: 1 }), entry(9, { kind: "delete", target: 2 })], { more: true });
  assert.deepEqual([seqs(transcript.lines), transcript.earlierThan], [[10, 11, 12], 8]);
});

test("a deletion takes the text away wherever it stands, and the quotes of it are drawn anew", () => {
  const transcript = begun(1, 2);
  transcript.pause();
  transcript.append({ entries: [entry(3, { reply_to: 1 }), entry(4, { kind: "delete", target: 1 })] });
  const [gone] = transcript.lines;
  assert.deepEqual([gone.entry.deleted, gone.entry.text, gone.version], [true, undefined, 1]);
  assert.deepEqual(seqs(transcript.tail), [1, 2, 3], "the deletion itself is no line");
  assert.equal(transcript.lineOf(3).version, 1);
});

test("a skipped range is a line that can be filled, in parts", () => {
  const transcript = begun(1, 2);
  transcript.append({ gap: true, from: 3, to: 10, entries: [entry(5), entry(9)] });
  transcript.append({ entries: entries(11, 11) });
  assert.deepEqual(seqs(transcript.lines), [1, 2, "3..10:6", 5, 9, 11]);
  transcript.fill(transcript.lines[2], entries(3, 6));
  assert.deepEqual(seqs(transcript.lines), [1, 2, 3, 4, 5, 6, "7..10:3", 9, 11]);
  transcript.fill(transcript.lines[6], entries(7, 30));
  assert.deepEqual(seqs(transcript.lines), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

test("questions are gathered, the newest first, without those taken back", () => {
  const transcript = new Transcript();
  const ask = (seq) => entry(seq, { kind: "question" });
  transcript.reset([ask(1), ask(2), entry(3), ask(4), entry(5, { kind: "delete", target: 2 })]);
  assert.deepEqual(seqs(transcript.questions(6)), [4, 1]);
  assert.deepEqual(seqs(transcript.questions(1)), [4]);
});

class Storage {
  items = new Map();
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, value) => this.items.set(key, value);
}

const request = (cid, state, more = {}) => ({ cid, state, body: { cid, text: cid, kind: "message", ...more } });

test("what was not sent survives a reload with its cid; what was sent does not come again", () => {
  const storage = new Storage();
  const outgoing = new Outgoing(storage, "r u");
  for (const one of [request("a", "sending", { reply_to: 7 }), request("b", "failed"), request("c", "sent")]) outgoing.note(one);
  assert.deepEqual(new Outgoing(storage, "r u").left(), [
    { text: "a", kind: "message", replyTo: 7, cid: "a" },
    { text: "b", kind: "message", replyTo: null, cid: "b" },
  ]);
  outgoing.settle([entry(1, { cid: "a", by: { id: "me" } }), entry(2, { cid: "b", by: { id: "another" } })], "me");
  assert.deepEqual(outgoing.requests.map(({ cid }) => cid), ["b", "c"]);
  outgoing.discard(outgoing.requests[0]);
  assert.deepEqual(new Outgoing(storage, "r u").left(), []);
});

test("a storage that is forbidden costs nothing else", () => {
  const forbidden = { getItem: () => { throw new Error("no"); }, setItem: () => { throw new Error("no"); } };
  const outgoing = new Outgoing(forbidden, "r u");
  outgoing.note(request("a", "sending"));
  assert.deepEqual([outgoing.left(), outgoing.requests.length], [[], 1]);
});

test("both languages say all, with the same fields", () => {
  const fields = (value) => [...new Set(JSON.stringify(value).match(/\{\w+\}/g) ?? [])].sort();
  assert.deepEqual(Object.keys(ko), Object.keys(en));
  for (const key of Object.keys(en)) assert.deepEqual(fields(ko[key]), fields(en[key]), key);
});

test("the reader's language is the first one that we speak", () => {
  assert.equal(languageOf([null, "fr-FR", "ko-KR", "en"]), "ko");
  assert.equal(languageOf(["fr"]), "en");
});

test("numbers choose the plural, and unknown codes speak in the server's words", () => {
  const words = new Words("en");
  assert.equal(words.say("members", { n: 1 }), "1 person here");
  assert.equal(words.say("members", { n: 1200 }), "1,200 people here");
  assert.equal(words.why({ code: "NEW", message: "because" }), "because");
  assert.equal(words.why({ code: "MUTED", message: "because" }), "you are muted");
  assert.equal(words.mode({ mode: "open", slow_ms: 60_000 }), "Everyone may write, once every 1 min");
  words.speak("ko");
  assert.equal(words.say("members", { n: 3 }), "3명 참여 중");
});

test("braces in what people write are left alone", () => {
  assert.equal(new Words("en").say("line.inReply", { name: "{text}", text: "{name}" }), "In reply to {text}: {name}");
});

test("the door lets in who is complete, and the address keeps them", () => {
  const known = visitorOf(new URL("http://h/?room=a/b&name=Ada&role=king"));
  assert.deepEqual([known.room, known.role, isComplete(known)], ["", "", false]);
  const whole = visitorOf(new URL("http://h/?room=m-1&user=u1&role=student"));
  assert.deepEqual([whole.name, isComplete(whole)], ["u1", true]);
  const again = visitorOf(addressOf({ ...whole, name: "김 솔" }, "http://h/?x=1"));
  assert.deepEqual(again, { ...whole, name: "김 솔" });
  assert.match(newUser("Ada Lovelace"), /^ada-lovelace-[0-9a-f]{6}$/);
  assert.match(newUser("김솔"), /^guest-[0-9a-f]{6}$/);
});

test("a face has the letters of a name", () => {
  assert.deepEqual(["Ada Byron", "Prof. Han Jiwon", "ada", "김솔", "", "Dr."].map(initials), ["AB", "HJ", "A", "김", "·", "D"]);
});

test("an excerpt is one line of bounded length", () => {
  assert.equal(excerpt(" a\n b "), "a b");
  assert.equal([...excerpt("😀".repeat(500))].length, 121);
  assert.equal(excerpt(undefined), "");
});
