import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import type { Event } from '../../src/protocol/events.ts';

export interface ReceivedMessage {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly events: readonly Event[];
}

/** How to answer a message; nothing = hang. */
export type AnswerMessage = (message: ReceivedMessage, response: ServerResponse, nth: number) => void;

export const accept: AnswerMessage = (_message, response) => void response.writeHead(204).end();

/** A receiver as users write them: it checks signatures once it has the secret, and answers as it is told. */
export class WebhookReceiver implements AsyncDisposable {
  readonly url: string;
  /** Every message, also those that were not accepted. */
  readonly messages: ReceivedMessage[] = [];
  answer: AnswerMessage;
  /** Messages before it is known are only kept. */
  secret: string | undefined;
  /** Signatures that did not fit. */
  readonly forged: unknown[] = [];
  readonly #server: ReturnType<typeof createServer>;

  private constructor(server: ReturnType<typeof createServer>, answer: AnswerMessage) {
    this.#server = server;
    this.answer = answer;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?key=of-the-url`;
    server.on('request', (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks).toString();
        const { events } = JSON.parse(body) as { events: Event[] };
        const message = { headers: request.headers, body, events };
        this.#check(message);
        this.messages.push(message);
        this.answer(message, response, this.messages.length);
      });
    });
  }

  static async open(answer: AnswerMessage = accept): Promise<WebhookReceiver> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new WebhookReceiver(server, answer);
  }

  /** All events received, as a receiver reads them that drops ids it knows. */
  get events(): readonly Event[] {
    const known = new Map<string, Event>();
    for (const event of this.messages.flatMap(({ events }) => events))
      if (!known.has(event.id)) known.set(event.id, event);
    return [...known.values()];
  }

  /** The claims of these events, in the order in which they came. */
  claimsOf(type: string): (string | null)[] {
    return this.events.filter((event) => event.type === type).map(({ claim_id: id }) => id);
  }

  #check({ body, headers }: ReceivedMessage): void {
    if (this.secret === undefined) return;
    try {
      new Webhook(this.secret).verify(body, headers as Record<string, string>);
    } catch (error) {
      this.forged.push(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
