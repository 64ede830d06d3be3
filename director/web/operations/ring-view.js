/** Ring view: the hash circle with every node's stretches of it, the nodes with their loads, and moves as chords. */
import { concernsOf, standingOf } from "./fleet.js";
import { placeOf, RingPoints } from "./ring-points.js";

const SVG = "http://www.w3.org/2000/svg";
const CENTRE = 170;
const RIM_OUTER = 160;
const RIM_INNER = 146;
const NODES_AT = 118;
const NAMES_AT = 96;
const CLEAR_OF_CENTRE = 52;
const MOST_NAMES = 12;
const MOST_CHORDS = 60;
const SLICE_MS = 8;

export class RingView {
  #words;
  #fleet;
  #svg = document.getElementById("ring");
  #points = new RingPoints();
  #names = "";
  #rim = group("rim");
  #chosenRim = group("rim-chosen");
  #chords = group("chords");
  #nodes = group("ring-nodes");
  #marks = new Map();
  #people = shape("text", { class: "ring-people", x: CENTRE, y: CENTRE + 4 });
  #caption = shape("text", { class: "ring-caption", x: CENTRE, y: CENTRE + 24 });
  #selection = null;
  #stretchesOf = new Map();

  constructor({ words, fleet, select }) {
    this.#words = words;
    this.#fleet = fleet;
    const circles = [RIM_OUTER, RIM_INNER].map((r) => shape("circle", { class: "rim-edge", cx: CENTRE, cy: CENTRE, r }));
    this.#svg.append(this.#rim, this.#chosenRim, ...circles, this.#chords, this.#nodes, this.#people, this.#caption);
    this.#nodes.addEventListener("click", ({ target }) => {
      const node = target.closest("[data-node]")?.dataset.node;
      if (node) select({ node });
    });
    words.onChange(() => this.draw());
  }

  set selection(selection) {
    this.#selection = selection;
    this.#drawChosen();
  }

  draw() {
    const fleet = this.#fleet;
    if (!fleet.isKnown) return;
    const names = [...fleet.nodes.keys()];
    if (names.join() !== this.#names) {
      this.#names = names.join();
      this.#place(names);
      this.#prepareRim();
    }
    for (const node of fleet.nodes.values()) this.#drawNode(node);
    this.#people.textContent = this.#words.say("ring.people", { n: fleet.members });
    this.#caption.textContent = this.#words.say("ring.caption", { n: fleet.members });
    this.#drawChords();
    this.#drawChosen();
  }

  #place(names) {
    this.#marks = new Map(names.map((name, index) => [name, mark(name, index / names.length, names.length)]));
    this.#nodes.replaceChildren(...[...this.#marks.values()].map(({ element }) => element));
  }

  /** Thousands of hashes are worked out in slices, so that a page of fifty nodes opens without a hitch. */
  #prepareRim() {
    // A node whose lease has lapsed is out of the ring until it is back.
    const names = [...this.#fleet.nodes.keys()];
    if (this.#points.prepare(names, SLICE_MS)) this.#drawRim(names);
    else setTimeout(() => this.#prepareRim(), 0);
  }

  #drawRim(names) {
    const points = this.#points.of(names);
    this.#stretchesOf = new Map(names.map((name) => [name, []]));
    points.forEach(({ at, node }, index) => {
      const from = index === 0 ? points[points.length - 1].at - 1 : points[index - 1].at;
      this.#stretchesOf.get(node).push(stretch(from, at));
    });
    const shades = names.map((name, index) => shape("path", { d: this.#stretchesOf.get(name).join(""), "data-shade": index % 4 }));
    this.#rim.replaceChildren(...shades);
    this.#drawChosen();
  }

  #drawNode(node) {
    const { element, gauge, title } = this.#marks.get(node.node);
    const full = node.limit ? node.load / node.limit : node.load > 0 ? 1 : 0;
    gauge.setAttribute("stroke-dasharray", `${Math.min(100, full * 100).toFixed(1)} 100`);
    element.dataset.standing = standingOf(node);
    element.toggleAttribute("data-concern", concernsOf(node).length > 0);
    element.toggleAttribute("data-chosen", this.#nodeChosen() === node.node);
    title.textContent = `${node.node}: ${this.#words.say(`state.${standingOf(node)}`)}`;
  }

  #nodeChosen() {
    const { node, room } = this.#selection ?? {};
    return node ?? this.#fleet.rooms.get(room)?.[1];
  }

  #drawChosen() {
    const chosen = this.#nodeChosen();
    for (const [name, { element }] of this.#marks) element.toggleAttribute("data-chosen", name === chosen);
    const room = this.#selection?.room;
    const parts = [];
    if (this.#selection?.node && this.#stretchesOf.has(chosen)) {
      parts.push(shape("path", { d: this.#stretchesOf.get(chosen).join("") }));
    }
    if (room) {
      const [x, y] = onCircle(placeOf(room), RIM_OUTER - 7);
      const place = this.#marks.get(chosen);
      if (place) parts.push(shape("path", { class: "to-owner", d: `M${x} ${y}L${place.x} ${place.y}` }));
      parts.push(shape("circle", { class: "room-place", cx: x, cy: y, r: 6 }));
    }
    this.#chosenRim.replaceChildren(...parts);
  }

  #drawChords() {
    const pairs = new Map();
    for (const { source, target } of this.#fleet.moving.values()) {
      const key = `${source} ${target}`;
      pairs.set(key, { source, target, rooms: (pairs.get(key)?.rooms ?? 0) + 1 });
    }
    const key = [...pairs].map(([pair, { rooms }]) => `${pair} ${rooms}`).join();
    if (key === this.#chords.dataset.drawn) return; // else the dashes would begin anew each second
    this.#chords.dataset.drawn = key;
    const chords = [...pairs.values()].slice(0, MOST_CHORDS).flatMap(({ source, target, rooms }) => {
      const [from, to] = [this.#marks.get(source), this.#marks.get(target)];
      return from && to ? [chord(from, to, rooms)] : [];
    });
    this.#chords.replaceChildren(...chords);
  }
}

function shape(name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function group(name) {
  return shape("g", { class: name });
}

function onCircle(fraction, radius) {
  const angle = fraction * 2 * Math.PI - Math.PI / 2;
  return [CENTRE + radius * Math.cos(angle), CENTRE + radius * Math.sin(angle)].map((value) => Number(value.toFixed(2)));
}

/** A piece of the rim; all are far shorter than half of it, but for a ring of very few points. */
function stretch(from, to) {
  const corners = [onCircle(from, RIM_OUTER), onCircle(to, RIM_OUTER), onCircle(to, RIM_INNER), onCircle(from, RIM_INNER)];
  const [a, b, c, d] = corners.map((corner) => corner.join(" "));
  return `M${a}A${RIM_OUTER} ${RIM_OUTER} 0 0 1 ${b}L${c}A${RIM_INNER} ${RIM_INNER} 0 0 0 ${d}Z`;
}

/** A node on the circle: its dot, a gauge of its load against its bound, and its name where there is room for names. */
function mark(name, fraction, count) {
  const [x, y] = onCircle(fraction, NODES_AT);
  const r = count <= MOST_NAMES ? 9 : Math.max(3.5, Math.min(9, (NODES_AT * 2.6) / count));
  const element = shape("g", { class: "ring-node", "data-node": name });
  const gauge = shape("circle", { class: "gauge", cx: x, cy: y, r, pathLength: 100, transform: `rotate(-90 ${x} ${y})` });
  const title = shape("title");
  element.append(title, shape("circle", { class: "dot", cx: x, cy: y, r }), gauge);
  if (count <= MOST_NAMES) {
    const [nameX, nameY] = onCircle(fraction, NAMES_AT);
    const side = Math.sin(fraction * 2 * Math.PI);
    const anchor = side > 0.3 ? "end" : side < -0.3 ? "start" : "middle";
    const text = shape("text", { x: nameX, y: nameY + 4, "text-anchor": anchor });
    text.textContent = name.length > 12 ? `${name.slice(0, 11)}…` : name;
    element.append(text);
  }
  return { element, gauge, title, x, y };
}

/** A move: from the one node to the other, bent towards the middle but round what is written there. */
function chord(from, to, rooms) {
  const [midX, midY] = [(from.x + to.x) / 2 - CENTRE, (from.y + to.y) / 2 - CENTRE];
  const off = Math.hypot(midX, midY);
  const [dirX, dirY] = off > 1 ? [midX / off, midY / off] : [(to.y - from.y) / (2 * NODES_AT), (from.x - to.x) / (2 * NODES_AT)];
  const bend = Math.max(0.6 * off, 2 * CLEAR_OF_CENTRE - off);
  const [bendX, bendY] = [CENTRE + dirX * bend, CENTRE + dirY * bend];
  const width = Math.min(5, 1.4 + Math.log2(rooms) * 0.7).toFixed(1);
  return shape("path", { d: `M${from.x} ${from.y}Q${bendX} ${bendY} ${to.x} ${to.y}`, "stroke-width": width });
}
