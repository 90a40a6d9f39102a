/**
 * A JSON value by its source text, which is what was stored: white space, number forms and the order of keys are the
 * sender's. It must be one valid JSON value.
 */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** The value as JavaScript has it: large numbers lose digits. */
  value(): unknown {
    return JSON.parse(this.text);
  }
}
