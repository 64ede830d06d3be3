/** Words of the operations page: those of its languages, and the ways of saying that only operators need. */
import { operationsEn as en } from "./operations-en.js";
import { operationsKo as ko } from "./operations-ko.js";
import { Words } from "./words.js";

const MARKED = /\u0001(\w+)\u0002(.*?)\u0003/su;

// Logs and tables tell times like this everywhere.
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export class OperationsWords extends Words {
  constructor(language) {
    super(language, { en, ko });
  }

  /** What `key` says in pieces, [{text, field}]: those of a field can be made into something else. */
  parts(key, fields) {
    const marked = Object.entries(fields).map(([name, value]) => [name, typeof value === "string" ? `\u0001${name}\u0002${value}\u0003` : value]);
    const pieces = this.say(key, Object.fromEntries(marked)).split(MARKED);
    return pieces.flatMap((text, index) => {
      if (index % 3 === 1) return [];
      return [{ text, field: index % 3 === 2 ? pieces[index - 1] : null }];
    }).filter(({ text }) => text !== "");
  }

  /** Why a room is where it is, or a node is dead: our words for it, else the director's. */
  reason(why) {
    return this.has(`why.${why}`) ? this.say(`why.${why}`) : why;
  }

  /** A time of day with its seconds. */
  clock(at) {
    return CLOCK.format(at);
  }

  /** About how long, from seconds. */
  about(seconds) {
    if (seconds < 9.95) return this.say("about.s", { n: Number(Math.max(0.1, seconds).toFixed(1)) });
    return seconds < 90 ? this.say("about.s", { n: Math.round(seconds) }) : this.say("about.min", { n: Math.round(seconds / 60) });
  }
}
