/** Controls: what staff can do to the whole hall. Who may write, how often, and the notice on the board. */
import { make } from "./line-view.js";

const SLOW_CHOICES_MS = [0, 5_000, 10_000, 30_000, 60_000];
const $ = (id) => document.getElementById(id);

export class Controls {
  #words;
  #client;
  #standing = { mode: "open", slow_ms: 0 };

  constructor({ words, client }) {
    this.#words = words;
    this.#client = client;
    $("controls").hidden = false;
    this.#drawSlow();
    for (const radio of this.#radios()) radio.addEventListener("change", () => this.#setMode());
    $("slow").addEventListener("change", () => this.#setMode());
    $("notice-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = $("notice-input").value.trim();
      if (text !== "") this.#ask(this.#client.notice(text), () => ($("notice-input").value = ""));
    });
    $("take-down").addEventListener("click", () => this.#ask(this.#client.notice(null)));
    words.onChange(() => this.#drawSlow());
  }

  set standing(standing) {
    this.#standing = standing;
    for (const radio of this.#radios()) radio.checked = radio.value === standing.mode;
    this.#drawSlow();
    $("take-down").disabled = !standing.notice;
  }

  #radios() {
    return document.querySelectorAll('#controls input[name="mode"]');
  }

  #setMode() {
    const mode = [...this.#radios()].find((radio) => radio.checked)?.value ?? "open";
    this.#ask(this.#client.mode(mode, Number($("slow").value)));
  }

  async #ask(request, then = () => {}) {
    try {
      await request.done;
      then();
      this.#say(this.#words.say("controls.done"));
    } catch (error) {
      this.standing = this.#standing; // shows what holds
      this.#say(this.#words.say("controls.failed", { why: this.#words.why(error) }));
    }
  }

  #say(text) {
    $("controls-said").textContent = text;
  }

  #drawSlow() {
    const { slow_ms: slowMs } = this.#standing;
    const choices = [...new Set([...SLOW_CHOICES_MS, slowMs])].sort((a, b) => a - b);
    const options = choices.map((ms) => {
      const text = ms === 0 ? this.#words.say("controls.slowOff") : this.#words.say("controls.slowEvery", { span: this.#words.span(ms) });
      return make("option", { value: String(ms), selected: ms === slowMs }, text);
    });
    $("slow").replaceChildren(...options);
  }
}
