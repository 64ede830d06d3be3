/** Words: what the page says in the language that the reader has chosen. */
import { en } from "./en.js";
import { ko } from "./ko.js";

export const LANGUAGES = { en, ko };
const MARKS = [
  ["data-i18n", (element, text) => (element.textContent = text)],
  ["data-i18n-label", (element, text) => element.setAttribute("aria-label", text)],
  ["data-i18n-placeholder", (element, text) => element.setAttribute("placeholder", text)],
];

/** The first of the wanted languages that we speak, else English. */
export function languageOf(wanted) {
  const spoken = wanted.filter(Boolean).map((tag) => tag.toLowerCase().split("-")[0]);
  return spoken.find((tag) => tag in LANGUAGES) ?? "en";
}

export class Words {
  #listeners = new Set();
  #languages;

  /** `languages` are the words of a page, by language; one without a word says it in English. */
  constructor(language, languages = LANGUAGES) {
    this.#languages = languages;
    this.#speak(language);
  }

  #speak(language) {
    this.language = language;
    this.#plural = new Intl.PluralRules(language);
    const region = globalThis.navigator?.languages?.find((tag) => tag.startsWith(language)) ?? language;
    this.#clock = new Intl.DateTimeFormat(region, { hour: "numeric", minute: "2-digit" });
    this.#date = new Intl.DateTimeFormat(region, { dateStyle: "long", timeStyle: "medium" });
    this.#number = new Intl.NumberFormat(language);
  }
  #plural;
  #clock;
  #date;
  #number;

  /** Speak another language from now on; everybody who listens says what they say anew. */
  speak(language) {
    this.#speak(language);
    for (const listener of this.#listeners) listener();
  }

  onChange(listener) {
    this.#listeners.add(listener);
  }

  /** The text of `key`, its {fields} filled in; a number in {n} also chooses the plural. */
  say(key, fields = {}) {
    const found = this.#languages[this.language][key] ?? this.#languages.en[key] ?? key;
    const template = typeof found === "string" ? found : (found[this.#plural.select(fields.n)] ?? found.other);
    return template.replace(/\{(\w+)\}/g, (whole, name) => {
      const value = fields[name];
      return typeof value === "number" ? this.#number.format(value) : (value ?? whole);
    });
  }

  /** Why something failed: our words for its code, else the server's. */
  why(error) {
    const key = `error.${error?.code}`;
    return this.has(key) ? this.say(key) : (error?.message ?? "?");
  }

  /** Whether there are words for `key`. */
  has(key) {
    return key in this.#languages.en;
  }

  time(at) {
    return this.#clock.format(at);
  }

  date(at) {
    return this.#date.format(at);
  }

  span(ms) {
    return ms % 60_000 === 0 ? this.say("span.min", { n: ms / 60_000 }) : this.say("span.s", { n: ms / 1_000 });
  }

  /** Who may write and how often, in a few words. */
  mode({ mode, slow_ms: slowMs }) {
    const says = this.say(`mode.says.${mode}`);
    return slowMs > 0 && mode === "open" ? this.say("mode.slow", { mode: says, span: this.span(slowMs) }) : says;
  }

  /** Translate all marked elements below `root`. */
  translate(root) {
    root.lang = this.language;
    for (const [mark, set] of MARKS) {
      for (const element of root.querySelectorAll(`[${mark}]`)) set(element, this.say(element.getAttribute(mark)));
    }
  }
}
