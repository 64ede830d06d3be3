/** Floor view: all nodes side by side, each with its vessel of rooms, its state, its load and its lease. */
import { make } from "../line-view.js";
import { concernsOf, standingOf } from "./fleet.js";
import { themeOf, Vessel } from "./vessel.js";

const ROOMY = 6;
const MIDDLING = 16;
const LEASE_IS_SHORT = 0.5;
const TIP_OFFSET = 14;
const $ = (id) => document.getElementById(id);

export class FloorView {
  #words;
  #fleet;
  #select;
  #cards = new Map();
  #theme = null;
  #themeKey = 0;
  #selection = null;
  #resized = new ResizeObserver((entries) => this.#resize(entries));

  /** `select({node} | {room})` shows one of them. */
  constructor({ words, fleet, select }) {
    this.#words = words;
    this.#fleet = fleet;
    this.#select = select;
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => this.#repaint());
    }
    document.fonts.ready.then(() => this.#repaint()); // a canvas does not wait for its font
    words.onChange(() => this.draw());
    const floor = $("floor");
    floor.addEventListener("click", (event) => this.#click(event));
    floor.addEventListener("pointermove", (event) => this.#point(event));
    floor.addEventListener("pointerleave", () => ($("tip").hidden = true));
  }

  set selection(selection) {
    this.#selection = selection;
    this.draw();
  }

  draw() {
    const fleet = this.#fleet;
    if (!fleet.isKnown) return;
    this.#theme ??= themeOf($("floor"));
    const names = [...fleet.nodes.keys()];
    if (names.join() !== [...this.#cards.keys()].join()) this.#deal(names);
    $("floor-none").hidden = names.length > 0;
    for (const node of fleet.nodes.values()) this.#drawCard(this.#cards.get(node.node), node);
  }

  #deal(names) {
    for (const [name, card] of this.#cards) if (!names.includes(name)) this.#resized.unobserve(card.canvas);
    this.#cards = new Map(names.map((name) => [name, this.#cards.get(name) ?? this.#card(name)]));
    const floor = $("floor");
    floor.dataset.density = names.length <= ROOMY ? "roomy" : names.length <= MIDDLING ? "middling" : "dense";
    floor.replaceChildren(...[...this.#cards.values()].map(({ item }) => item));
  }

  #card(name) {
    const state = make("span", { className: "node-state" });
    const head = make("button", { type: "button", className: "node-head", data: { node: name } }, make("bdi", { className: "node-name" }, name), state);
    const [load, rooms] = [make("span"), make("span")];
    const facts = make("p", { className: "node-facts" }, load, rooms);
    const canvas = make("canvas", { className: "vessel", data: { vessel: name }, ariaHidden: "true" });
    const lease = make("span", { className: "lease" }, make("span"));
    const leaseText = make("span", { className: "lease-text" });
    const item = make("li", { className: "node" }, head, facts, canvas, make("p", { className: "node-lease" }, leaseText, lease));
    this.#resized.observe(canvas);
    return { item, head, state, facts, load, rooms, canvas, lease: lease.firstChild, leaseText, vessel: new Vessel(canvas) };
  }

  #drawCard(card, node) {
    const words = this.#words;
    const standing = standingOf(node);
    const concerns = concernsOf(node);
    const { item, vessel } = card;
    set(item.dataset, "standing", standing);
    item.toggleAttribute("data-concern", concerns.length > 0);
    item.toggleAttribute("data-chosen", this.#selection?.node === node.node);
    const shownState = concerns.includes("store") && standing === "serving" ? "doubted" : standing;
    set(card.state.dataset, "state", shownState);
    setText(card.state, shownState === "serving" ? "" : words.say(`state.${shownState}`));
    const load = node.limit === null ? words.say("node.load", { load: node.load }) : words.say("node.loadOf", { load: node.load, limit: node.limit });
    setText(card.load, load);
    setText(card.rooms, words.say("node.rooms", { n: node.rooms }));
    card.facts.toggleAttribute("data-over", concerns.includes("over"));
    const left = node.has_lapsed ? 0 : node.lapses_in_ms / this.#fleet.leaseMs;
    card.lease.style.width = `${Math.round(left * 100)}%`;
    item.toggleAttribute("data-lease-short", left < LEASE_IS_SHORT);
    setText(card.leaseText, node.has_lapsed ? words.say("lease.lapsed") : words.say("lease.left", { n: seconds(node.lapses_in_ms) }));
    const people = words.say("totals.people", { n: node.members });
    setAttribute(card.head, "aria-label", `${node.node}: ${words.say(`state.${shownState}`)}, ${people}, ${load}, ${card.rooms.textContent}`);
    const { fullest, moving } = this.#fleet;
    vessel.draw(node, { fullest, moving, chosen: this.#selection, theme: this.#theme, themeKey: this.#themeKey });
  }

  #resize(entries) {
    for (const { target, contentRect } of entries) {
      this.#cards.get(target.dataset.vessel)?.vessel.resize(contentRect.width, contentRect.height);
    }
    this.draw();
  }

  #repaint() {
    this.#theme = null;
    this.#themeKey += 1;
    this.draw();
  }

  #areaAt(event) {
    const vessel = this.#cards.get(event.target.dataset?.vessel)?.vessel;
    return vessel?.areaAt(event.offsetX, event.offsetY) ?? null;
  }

  #click(event) {
    const name = event.target.closest("[data-node]")?.dataset.node;
    const area = this.#areaAt(event);
    if (name) this.#select({ node: name });
    else if (area) this.#select({ room: area[0] });
    else if (event.target.dataset?.vessel) this.#select({ node: event.target.dataset.vessel });
  }

  #point(event) {
    const tip = $("tip");
    const area = event.pointerType === "touch" ? null : this.#areaAt(event);
    tip.hidden = area === null;
    event.target.classList?.toggle("over-room", area !== null);
    if (area === null) return;
    const [room, node, members, load] = area;
    const move = this.#fleet.moving.get(room);
    const key = move ? "tip.moving" : load > members ? "tip.held" : "tip.room";
    tip.replaceChildren(
      make("strong", {}, room),
      make("span", {}, this.#words.say(key, { members, load, node, target: move?.target ?? "" })),
    );
    const isLeft = event.clientX > innerWidth / 2;
    tip.style.left = `${event.clientX + (isLeft ? -TIP_OFFSET : TIP_OFFSET)}px`;
    tip.style.top = `${event.clientY + TIP_OFFSET}px`;
    tip.toggleAttribute("data-left", isLeft);
  }
}

export const seconds = (ms) => (ms / 1000).toFixed(1);

// What is set each second is mostly what is there already, and a browser lays out anew for what is set.
function set(target, key, value) {
  if (target[key] !== value) target[key] = value;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
