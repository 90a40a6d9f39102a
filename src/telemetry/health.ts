import type { Health } from '../protocol/coordinator.ts';

export interface HealthSources {
  /** Reaches a primary that takes writes; throws when it reaches nothing. */
  readonly isWritablePrimary: () => Promise<boolean>;
  readonly isTimeout: (error: unknown) => boolean;
  readonly leadership: () => Record<string, unknown>;
  readonly notificationsWork: () => boolean;
}

/** What a load balancer (readiness) and a process supervisor (liveness) ask. */
export class ReplicaHealth implements Health {
  readonly #sources: HealthSources;
  #stopping = false;
  #asked: ReturnType<Health['readiness']> | undefined;

  constructor(sources: HealthSources) {
    this.#sources = sources;
  }

  /** From now on this replica is not ready: it is being stopped. */
  beginStopping(): void {
    this.#stopping = true;
  }

  readiness(): ReturnType<Health['readiness']> {
    if (this.#stopping || this.#asked === undefined) {
      const asked = this.#ask();
      this.#asked = asked;
      // Many balancers ask at once; one question to the database answers those of a quarter of a second.
      setTimeout(() => {
        if (this.#asked === asked) this.#asked = undefined;
      }, 250).unref();
    }
    return this.#asked;
  }

  async #ask(): ReturnType<Health['readiness']> {
    if (this.#stopping) return { ready: false, code: 'shutting_down', detail: 'This replica is stopping.' };
    try {
      if (!(await this.#sources.isWritablePrimary())) {
        return {
          ready: false,
          code: 'database_unavailable',
          detail: 'The database takes no writes: it is a standby or read-only.',
        };
      }
    } catch (error) {
      const code = this.#sources.isTimeout(error) ? 'database_timeout' : 'database_unavailable';
      return { ready: false, code, detail: error instanceof Error ? error.message : String(error) };
    }
    return { ready: true, details: { notifications_work: this.#sources.notificationsWork() } };
  }

  liveness(): { details: Record<string, unknown> } {
    return { details: { leadership: this.#sources.leadership() } };
  }
}
