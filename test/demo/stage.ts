import { until } from '../support/until.ts';
import type { DemoClient } from './crowd.ts';

const startedAt = performance.now();

/** One line for a person, with the time since the start. */
export function say(message: string): void {
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(5)} s  ${message}`);
}

/** A client whose job has begun. */
export interface Held {
  readonly client: DemoClient;
  readonly slot: string;
  readonly token: number;
}

/** Prints what the clients print, as they print it, and lets the demo wait for it. */
export class Stage {
  /** The reason each client has told last while it waited, of those that told queue, position and reason. */
  readonly reasons = new Map<string, string>();
  #begun: Held[] = [];

  hear(client: DemoClient, line: string): void {
    const [, job, token, slot = ''] = /^job: (begin|end|cut|refused) (\d+) (\d+)$/.exec(line) ?? [];
    if (job === 'begin') this.#begun.push({ client, slot, token: Number(token) });
    if (job === 'cut') say(`${client.name}  its job in slot ${slot} got TERM and ends`);
    if (job === 'refused') say(`FAILED   ${client.name}, in time, was refused with token ${token} in slot ${slot}`);
    if (job === undefined && this.#isNews(client, line)) say(`${client.name}  ${line}`);
  }

  /** Once its job has begun. */
  async begun(client: DemoClient): Promise<Held> {
    const begun = () => this.#begun.find((held) => held.client === client);
    return await until(begun, { what: `the job of ${client.name} has begun`, timeoutMs: 60_000 });
  }

  /** Once another job has begun in the same place: that one. */
  async takenOver({ slot, token }: Held): Promise<Held> {
    const next = () => this.#begun.find((other) => other.slot === slot && other.token > token);
    return await until(next, { what: `slot ${slot} has another holder`, timeoutMs: 60_000 });
  }

  /** Of a line in which everybody moves up, only the first look and new reasons. */
  #isNews({ name }: DemoClient, line: string): boolean {
    // What a shell says of its own sleep that got TERM.
    if (line === 'Terminated') return false;
    const waiting = /^signalbox: waiting for a place in \S+: position \d+ of \d+, ([^,]+)/.exec(line);
    if (waiting === null) return !line.startsWith('signalbox: released');
    const [, reason = ''] = waiting;
    const isNew = this.reasons.get(name) !== reason;
    this.reasons.set(name, reason);
    return isNew;
  }
}
