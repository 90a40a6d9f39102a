import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Settings } from '../config/settings.ts';
import type { HttpServer } from '../http/server.ts';
import type { Service } from '../runtime/service.ts';
import type { ReplicaHealth } from '../telemetry/health.ts';

export interface DoorOptions {
  readonly http: HttpServer;
  readonly settings: Settings;
  /** Where clients wait; closed so that they are answered. */
  readonly rooms: readonly { close(): void }[];
  readonly health: ReplicaHealth;
}

/**
 * The listening side: opened when all else runs. Closing turns `/readyz` red at once, serves on until balancers have
 * noticed (`shutdownDelayMs`), then answers those who wait with their claims' present state.
 */
export class Door implements Service {
  readonly name = 'http';
  readonly #options: DoorOptions;
  #url = '';

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#url;
  }

  async start(): Promise<void> {
    const { http, settings } = this.#options;
    await http.listen({ host: settings.host, port: settings.port });
    const { address, family, port } = http.server.address() as AddressInfo;
    this.#url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  async stop(): Promise<void> {
    const { http, settings, rooms, health } = this.#options;
    health.beginStopping();
    if (http.server.listening && settings.shutdownDelayMs > 0) await sleep(settings.shutdownDelayMs);
    for (const room of rooms) room.close();
    await http.drain();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
