/** Node detail: a node's state, load, lease and largest rooms; cordon, uncordon, drain and the end of a drain. */
import { make } from "../line-view.js";
import { facts, nameLink, redraw } from "./facts.js";
import { standingOf } from "./fleet.js";
import { seconds } from "./floor-view.js";

const MOST_ROOMS = 40;
const $ = (id) => document.getElementById(id);

export class NodeDetail {
  #words;
  #act;
  #acts;
  #node = null;

  constructor({ words, client, plans, act }) {
    this.#words = words;
    this.#act = act;
    this.#acts = {
      cordon: () => act(() => client.cordon(this.#node.node)),
      uncordon: () => act(() => client.uncordon(this.#node.node)),
      drain: () => plans.drain(this.#node.node),
      cancelDrain: () => act(() => client.cancelDrain(this.#node.node)),
    };
    $("detail-body").addEventListener("click", ({ target }) => {
      const name = target.closest("[data-node-act]")?.dataset.nodeAct;
      if (name) this.#acts[name]();
    });
  }

  draw(node, fleet) {
    const body = $("detail-body");
    this.#node = node;
    if (!node) {
      redraw(body, make("p", { className: "quiet" }, this.#words.say("detail.nodeGone")));
      return;
    }
    redraw(body, this.#facts(node), this.#buttons(node), ...this.#rooms(node, fleet));
  }

  #facts(node) {
    const say = (key, fields) => this.#words.say(key, fields);
    const standing = standingOf(node);
    const limit = node.limit;
    return facts([
      [say("fact.state"), say(`state.${standing}`) + (node.order ? ` (${say("fact.byOrder")})` : "")],
      [say("fact.load"), limit === null ? say("fact.loadNoBound", { load: node.load }) : say("fact.loadOf", { load: node.load, limit, percent: Math.round((100 * node.load) / Math.max(1, limit)) })],
      [say("fact.people"), say("fact.peopleIn", { n: node.members, rooms: node.rooms })],
      [say("fact.lease"), node.has_lapsed ? say("fact.leaseLapsed") : say("fact.leaseLeft", { n: seconds(node.lapses_in_ms) })],
      [say("fact.store"), say(node.store_ok ? "fact.storeOk" : "fact.storeFails")],
      [say("fact.capacity"), node.capacity === 1 ? null : String(node.capacity)],
      [say("fact.admits"), say("fact.admitsRate", { n: Math.round(node.joins_per_second) })],
      [say("fact.address"), node.url + (node.path === "/socket.io/" ? "" : node.path)],
      [say("fact.incarnation"), make("code", {}, node.incarnation)],
    ]);
  }

  #buttons(node) {
    const names = { cordoned: ["uncordon", "drain"], draining: node.order ? ["cancelDrain"] : [], serving: ["cordon", "drain"] };
    const buttons = names[node.state].map((name) =>
      make("button", { type: "button", className: "chalk", data: { nodeAct: name, key: name } }, this.#words.say(`act.${name}`)),
    );
    if (buttons.length === 0) return make("p", { className: "quiet" }, this.#words.say("detail.stopping"));
    return make("div", { className: "row" }, ...buttons);
  }

  #rooms(node, fleet) {
    const rows = node.areas.slice(0, MOST_ROOMS).map(([room, , members]) => {
      const move = fleet.moving.get(room);
      const mark = move ? make("span", { className: "to" }, `→ ${move.target}`) : null;
      const link = nameLink("room", room);
      link.dataset.key = `room ${room}`;
      return make("li", {}, link, mark, make("span", { className: "count" }, this.#words.say("number", { n: members })));
    });
    if (node.areas.length > MOST_ROOMS) {
      rows.push(make("li", { className: "quiet" }, this.#words.say("more.rooms", { n: node.areas.length - MOST_ROOMS })));
    }
    if (rows.length === 0) return [];
    return [make("h3", {}, this.#words.say("detail.rooms")), make("ol", { className: "room-list" }, ...rows)];
  }
}
