import { type Command, commandOf } from './commands.ts';

/**
 * The log of one job as GitHub shows it: workflow commands are carried out, and what is to be masked is masked. `raw` keeps
 * what the programs printed, but for the commands that mask.
 */
export class JobLog {
  text = '';
  raw = '';
  /** All that the runner took for one, but for the masks. */
  readonly commands: Command[] = [];
  readonly #secrets = new Set<string>();
  readonly #listeners = new Set<() => void>();

  constructor(secrets: readonly string[]) {
    for (const secret of secrets) this.mask(secret);
  }

  mask(secret: string): void {
    if (secret !== '') this.#secrets.add(secret);
  }

  /** One line that a step printed. */
  printed(line: string): void {
    const command = commandOf(line);
    if (command?.name === 'add-mask') {
      this.mask(command.data);
      return;
    }
    this.raw += `${line}\n`;
    if (command !== undefined) this.commands.push(command);
    this.say(command === undefined ? line : `##[${command.name}]${command.data}`);
  }

  /** A line of the runner itself, or one that is to be shown as it is. */
  say(line: string): void {
    let shown = line;
    for (const secret of this.#secrets) shown = shown.replaceAll(secret, '***');
    this.text += `${shown}\n`;
    for (const look of [...this.#listeners]) look();
  }

  /** The first line that matches, also one of before the call. */
  line(pattern: RegExp, timeoutMs = 20_000): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#listeners.delete(look);
        reject(new Error(`within ${timeoutMs} ms no line ${pattern}; the log:\n${this.text}`));
      }, timeoutMs);
      const look = () => {
        const lines = this.text.split('\n').slice(0, -1);
        const match = lines.map((line) => pattern.exec(line)).find((found) => found !== null);
        if (match === undefined) return;
        clearTimeout(timer);
        this.#listeners.delete(look);
        resolve(match);
      };
      this.#listeners.add(look);
      look();
    });
  }
}
