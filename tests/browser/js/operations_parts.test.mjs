/** The operations page's own parts: the ring as the directors know it, the treemap, the fleet's picture, its words. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { operationsEn } from "../../../director/web/i18n/operations-en.js";
import { operationsKo } from "../../../director/web/i18n/operations-ko.js";
import { OperationsWords } from "../../../director/web/i18n/operations-words.js";
import { concernsOf, Fleet } from "../../../director/web/operations/fleet.js";
import { orderOf, RingPoints } from "../../../director/web/operations/ring-points.js";
import { squarify } from "../../../director/web/operations/treemap.js";

test("the page's ring prefers the nodes that the directors' ring prefers", () => {
  // The golden vectors of tests/core/test_ring.py.
  const golden = { "math-101": "24135", "art~2": "43251", "physics:2026.autumn": "51432", a: "34251", "room-42": "43215" };
  const points = new RingPoints().of(["node-1", "node-2", "node-3", "node-4", "node-5"]);
  assert.equal(points.length, 5 * 160);
  for (const [room, order] of Object.entries(golden)) {
    assert.equal(orderOf(room, points).map((node) => node.at(-1)).join(""), order, room);
  }
});

test("points are worked out a slice at a time", () => {
  const points = new RingPoints();
  const nodes = Array.from({ length: 40 }, (_, number) => `node-${number}`);
  assert.equal(points.prepare(nodes, 0), false);
  let slices = 1;
  while (!points.prepare(nodes, 1)) slices += 1;
  assert.ok(slices > 1);
  assert.equal(points.of(nodes).length, 40 * 160);
});

test("a treemap fills its rectangle in proportion, and nothing lies upon another", () => {
  const weights = Array.from({ length: 60 }, (_, rank) => 900 / (rank + 1) ** 0.8);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const all = squarify(weights, 10, 20, 300, 140);
  const boxes = weights.map((weight, i) => ({ weight, x: all[4 * i], y: all[4 * i + 1], w: all[4 * i + 2], h: all[4 * i + 3] }));
  for (const { weight, x, y, w, h } of boxes) {
    assert.ok(Math.abs(w * h - (weight / total) * 300 * 140) < 1e-6);
    assert.ok(x > 10 - 1e-6 && y > 20 - 1e-6 && x + w < 310 + 1e-6 && y + h < 160 + 1e-6);
  }
  for (const a of boxes) {
    for (const b of boxes) {
      const across = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x);
      const down = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
      assert.ok(a === b || across < 1e-6 || down < 1e-6);
    }
  }
  assert.ok(boxes.every(({ w, h }) => Math.max(w / h, h / w) < 8), "no slivers");
});

test("a treemap of nothing, or in no space, is empty", () => {
  assert.equal(squarify([], 0, 0, 10, 10).length, 0);
  assert.deepEqual([...squarify([3], 0, 0, 0, 10)], [0, 0, 0, 0]);
});

const node = (name, facts = {}) => ({ node: name, rooms: 2, load: 60, limit: 100, store_ok: true, has_lapsed: false, lapses_in_ms: 5000, ...facts });
const fleetOf = (nodes, rooms = []) => {
  const fleet = new Fleet();
  fleet.update({ at_ms: 1, nodes, rooms, room_count: rooms.length, members: 0, moving: [] });
  return fleet;
};

test("nodes come in the order of their numbers, with the rooms that count for most first", () => {
  const fleet = fleetOf([node("node-10"), node("node-2")], [["b", "node-2", 1, 30], ["a", "node-2", 1, 30], ["c", "node-2", 9, 90], ["d", "gone", 1, 30]]);
  assert.deepEqual([...fleet.nodes.keys()], ["node-2", "node-10"]);
  assert.deepEqual(fleet.nodes.get("node-2").areas.map(([room]) => room), ["c", "a", "b"]);
});

test("what needs an operator is named, the worst first, and one large room alone is no fault", () => {
  assert.deepEqual(concernsOf(node("a", { load: 300, rooms: 1 })), []);
  const fleet = fleetOf([node("a", { load: 300 }), node("b", { store_ok: false }), node("c", { has_lapsed: true, limit: null }), node("d")]);
  assert.deepEqual(fleet.concerns.map(({ kind, node: name }) => `${kind} ${name}`), ["lapsed c", "store b", "over a"]);
});

test("rooms are found by how they begin, then by what they contain, not too many", () => {
  const fleet = fleetOf([node("n")], ["xart", "art-1", "maths", "art-2"].map((room) => [room, "n", 1, 30]));
  assert.deepEqual(fleet.roomsLike("art", 9), ["art-1", "art-2", "xart"]);
  assert.deepEqual(fleet.roomsLike("art", 1), ["art-1"]);
});

test("both languages say everything, with the same fields", () => {
  const fieldsOf = (text) => [...new Set((typeof text === "string" ? text : text.other).match(/\{\w+\}/g) ?? [])].sort();
  const signsAlone = ["number", "ring.people", "past.moved", "plan.beforeAfter", "note.other"];
  for (const [key, text] of Object.entries(operationsEn)) {
    if (key in operationsKo) assert.deepEqual(fieldsOf(operationsKo[key]), fieldsOf(text), key);
    else assert.ok(signsAlone.includes(key), `${key} is not said in Korean`);
  }
  for (const key of Object.keys(operationsKo)) assert.ok(key in operationsEn, `${key} is said in Korean alone`);
});

test("a sentence in pieces says which of them are names", () => {
  const words = new OperationsWords("en");
  const parts = words.parts("note.room_moved", { room: "r-1", source: "node-1", node: "node-2" });
  assert.equal(parts.map(({ text }) => text).join(""), "r-1 moved from node-1 to node-2");
  assert.deepEqual(parts.filter(({ field }) => field).map(({ field }) => field), ["room", "source", "node"]);
});
