/**
 * Plan dialog: shows what would be moved and what that costs, and starts it when it is confirmed. A rebalancing is run
 * exactly as it was shown; a drain is planned anew as it goes, and moves what is on the node by then.
 */
import { make } from "../line-view.js";
import { redraw } from "./facts.js";

const MOST_MOVES = 150;
const AGAIN_MS = 400;
const OPTIONS = {
  drain: [
    ["rooms_at_a_time", { value: 4, min: 1, max: 1000 }],
    ["members_per_second", { value: 500, min: 1, max: 1_000_000 }],
    ["within_s", { value: 300, min: 1, max: 86_400 }],
  ],
  rebalance: [
    ["bound", { value: 1.25, min: 1.01, max: 10, step: 0.01 }],
    ["rooms_at_a_time", { value: 4, min: 1, max: 1000 }],
    ["members_per_second", { value: 500, min: 1, max: 1_000_000 }],
  ],
  move: [],
};
const $ = (id) => document.getElementById(id);

export class PlanDialog {
  #words;
  #client;
  #order = null;
  #plan = null;
  #again;
  #number = 0;

  constructor({ words, client }) {
    this.#words = words;
    this.#client = client;
    $("plan-cancel").addEventListener("click", () => this.close());
    $("plan").addEventListener("close", () => this.#forget());
    $("plan").addEventListener("click", ({ target }) => target === $("plan") && this.close());
    $("plan-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#run();
    });
    $("plan-options").addEventListener("input", () => {
      this.#plan = null;
      this.#draw();
      clearTimeout(this.#again);
      this.#again = setTimeout(() => this.#ask(), AGAIN_MS);
    });
    words.onChange(() => this.#order && this.#draw());
  }

  drain(node) {
    this.#open({ kind: "drain", node, ask: (body) => this.#client.drain(node, body) });
  }

  move(room, to) {
    this.#open({ kind: "move", room, node: to, ask: ({ plan }) => this.#client.move(room, to, { plan }) });
  }

  rebalance() {
    this.#open({
      kind: "rebalance",
      ask: (body) => this.#client.rebalance(body.plan ? body : { ...body, moves: this.#plan.moves.map(chosenOf) }),
    });
  }

  close() {
    if ($("plan").open) $("plan").close();
  }

  #open(order) {
    this.#order = order;
    this.#plan = null;
    $("plan-said").textContent = "";
    $("plan-body").replaceChildren();
    $("plan-options").replaceChildren(...this.#options(order.kind));
    this.#draw();
    $("plan").showModal();
    $("plan-cancel").focus();
    this.#ask();
  }

  #forget() {
    clearTimeout(this.#again);
    this.#order = this.#plan = null;
    this.#number += 1;
  }

  #options(kind) {
    return OPTIONS[kind].map(([name, { value, min, max, step = 1 }]) => {
      const input = make("input", { type: "number", name, required: true, min, max, step: name === "bound" ? step : "any", value });
      return make("label", { className: "field" }, make("span", {}, this.#words.say(`option.${name}`)), input);
    });
  }

  #body() {
    const inputs = [...$("plan-options").querySelectorAll("input")];
    return Object.fromEntries(inputs.map((input) => [input.name, input.name === "rooms_at_a_time" ? Math.round(input.valueAsNumber) : input.valueAsNumber]));
  }

  async #ask() {
    if (!this.#order || !$("plan-form").reportValidity()) return;
    const number = ++this.#number;
    $("plan-said").textContent = "";
    try {
      const { plan } = await this.#order.ask({ ...this.#body(), plan: true });
      if (number === this.#number) this.#plan = plan;
    } catch (error) {
      if (number === this.#number) $("plan-said").textContent = this.#words.why(error);
    }
    if (number === this.#number) this.#draw();
  }

  async #run() {
    if (!this.#plan || !$("plan-form").reportValidity()) return;
    const number = ++this.#number;
    $("plan-run").disabled = true;
    $("plan-said").textContent = "";
    try {
      await this.#order.ask({ ...this.#body(), plan: false });
      if (number === this.#number) this.close();
    } catch (error) {
      if (number !== this.#number) return;
      await this.#ask(); // what was planned may no longer fit
      $("plan-said").textContent = this.#words.say("failed", { why: this.#words.why(error) });
    }
  }

  #draw() {
    const { kind, node = "", room = "" } = this.#order;
    const words = this.#words;
    const plan = this.#plan;
    $("plan-title").textContent = words.say(`plan.title.${kind}`, { node, room });
    $("plan-run").textContent = words.say(`plan.run.${kind}`);
    $("plan-run").disabled = !plan || (plan.moves.length === 0 && kind !== "drain");
    $("plan").toggleAttribute("data-waits", !plan);
    if (!plan) {
      $("plan-lead").textContent = words.say("plan.asking");
      return;
    }
    $("plan-lead").textContent = this.#lead(plan, kind);
    redraw($("plan-body"), ...this.#stranded(plan), ...this.#loads(plan), ...this.#moves(plan));
  }

  #lead({ moves, members, seconds, expected_pause_ms: pause }, kind) {
    if (moves.length === 0) return this.#words.say(`plan.nothing.${kind}`);
    const rooms = this.#words.say("plan.rooms", { n: moves.length });
    const people = this.#words.say("totals.people", { n: members });
    return this.#words.say("plan.lead", { rooms, people, span: this.#words.about(seconds), pause });
  }

  #stranded({ stranded }) {
    if (stranded.length === 0) return [];
    return [make("p", { className: "stranded" }, this.#words.say("plan.stranded", { n: stranded.length }))];
  }

  /** Each node that changes: its load before and after, against its bound. */
  #loads({ nodes }) {
    const changed = nodes.filter(({ before, after, is_hot: isHot }) => before !== after || isHot);
    if (changed.length === 0) return [];
    const most = Math.max(1, ...changed.map(({ before, after, limit }) => Math.max(before, after, limit ?? 0)));
    const rows = changed.map((node) => this.#load(node, most));
    return [make("h3", {}, this.#words.say("plan.loads")), make("ul", { className: "loads" }, ...rows)];
  }

  #load({ node, before, after, limit, is_hot: isHot }, most) {
    const percent = (value) => `${((100 * value) / most).toFixed(1)}%`;
    const svg = (name, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      return element;
    };
    const bar = svg("svg", { class: "load-bar", "aria-hidden": "true" });
    bar.append(
      svg("rect", { class: "load-before", width: percent(before), height: "100%" }),
      svg("rect", { class: "load-after", width: percent(after), height: "50%", y: "25%" }),
    );
    if (limit !== null) bar.append(svg("line", { class: "load-bound", x1: percent(limit), x2: percent(limit), y1: "0", y2: "100%" }));
    const change = this.#words.say("plan.beforeAfter", { before, after });
    const hot = isHot ? make("span", { className: "hot" }, this.#words.say("plan.hot")) : null;
    return make("li", {}, make("bdi", {}, node), bar, make("span", { className: "count" }, change), hot);
  }

  #moves({ moves }) {
    if (moves.length === 0) return [];
    const head = ["room", "way", "people", "why"].map((key) => make("th", { scope: "col" }, this.#words.say(`plan.column.${key}`)));
    const rows = moves.slice(0, MOST_MOVES).map(({ room, source, target, members, why }) => {
      const cells = [room, `${source} → ${target}`, this.#words.say("number", { n: members }), this.#words.reason(why)];
      return make("tr", {}, make("th", { scope: "row" }, cells[0]), ...cells.slice(1).map((cell) => make("td", {}, cell)));
    });
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
    const more = moves.length > MOST_MOVES ? make("p", { className: "empty" }, this.#words.say("more.rooms", { n: moves.length - MOST_MOVES })) : null;
    return [make("h3", {}, this.#words.say("plan.moves")), table, ...(more ? [more] : [])];
  }
}

const chosenOf = ({ room, source, target }) => ({ room, source, target });
