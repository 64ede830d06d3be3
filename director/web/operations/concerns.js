/** Concerns: the nodes that an operator should look at, on the board. */
import { make } from "../line-view.js";

const MOST = 6;
const $ = (id) => document.getElementById(id);

export class Concerns {
  #words;
  #fleet;
  #drawn = "";

  constructor({ words, fleet, select }) {
    this.#words = words;
    this.#fleet = fleet;
    $("concerns").addEventListener("click", ({ target }) => {
      const node = target.closest("[data-node]")?.dataset.node;
      if (node) select({ node });
    });
    words.onChange(() => this.draw());
  }

  draw() {
    if (!this.#fleet.isKnown) return;
    const all = this.#fleet.concerns;
    const drawn = `${this.#words.language} ${all.map(({ kind, node }) => `${kind} ${node}`).join()}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    $("concerns-none").hidden = all.length > 0;
    const items = all.slice(0, MOST).map(({ kind, node }) => {
      const text = this.#words.say(`concern.${kind}`, { node });
      return make("li", {}, make("button", { type: "button", className: "concern", data: { node, kind } }, text));
    });
    if (all.length > MOST) items.push(make("li", { className: "quiet" }, this.#words.say("more.rows", { n: all.length - MOST })));
    $("concerns").replaceChildren(...items);
  }
}
