import { until } from '../support/until.ts';
import type { DemoClient, Said } from './crowd.ts';

const startedAt = performance.now();

/** One line for a person, with the time since the start. */
export function say(message: string): void {
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(5)} s  ${message}`);
}

/** A client that holds a place. */
export interface Held {
  readonly client: DemoClient;
  readonly slot: string;
  readonly token: number;
}

/** Prints what clients say and lets the script wait for it. */
export class Stage {
  #begun: Held[] = [];
  #counted = 0;

  hear({ client, word, rest }: Said): void {
    const [token = '', slot = ''] = rest;
    switch (word) {
      case 'begins':
        this.#begun.push({ client, slot, token: Number(token) });
        say(`${client.name} has slot ${slot}, token ${token}`);
        break;
      case 'refused':
        say(`REFUSED  ${client.name} in slot ${slot}: token ${token} is old there`);
        break;
      case 'released':
        if (rest[0] !== 'true') say(`${client.name} had nothing to release any more: ${rest[1] ?? ''}`);
        break;
      case 'retries':
        say(`${client.name} gets no answer from ${token} and asks the next replica`);
        break;
      case 'failed':
        say(`FAILED   ${client.name}: ${rest.join(' ')}`);
        break;
      case 'waits':
      case 'ends':
        break;
      default:
        word satisfies never;
    }
  }

  /** The newest holder, once so many more have begun. */
  async holderAfter(more: number): Promise<Held> {
    const wanted = this.#counted + more;
    const holder = await until(() => this.#begun.length >= wanted && this.#begun.at(-1), {
      what: `${wanted} clients have begun`,
      timeoutMs: 30_000,
    });
    this.#counted = this.#begun.length;
    return holder;
  }

  /** Until somebody else has begun in the same place. */
  async takenOver({ slot, token }: Held): Promise<void> {
    await until(() => this.#begun.some((other) => other.slot === slot && other.token > token), {
      what: `slot ${slot} has another holder`,
      timeoutMs: 30_000,
    });
    this.#counted = this.#begun.length;
  }
}
