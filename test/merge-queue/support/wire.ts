/** An answer of /merge-queue; text where it is not JSON. */
export interface WireReply {
  readonly status: number;
  readonly body: {
    readonly request?: { readonly head_sha: string; readonly status: string; readonly priority: number };
    readonly stacked_pull_requests?: readonly { readonly number: number }[];
    readonly fencing_token?: number;
    readonly error?: string;
    readonly error_context?: unknown;
    readonly position?: number;
    readonly waiting_for?: string;
  };
  readonly headers: Headers;
}

export interface WireProvider {
  readonly last_updated_at: string;
  readonly acquired: WireReply['body'] | null;
  readonly known: readonly WireReply['body'][];
  readonly config: Readonly<Record<string, number>>;
}

/** Builds of one merge queue over HTTP: build n has sha<n>, pull request n and priority n. Each call goes to the next url. */
export class WireBuilds {
  readonly path: string;
  readonly #urls: readonly string[];
  #calls = 0;

  constructor(urls: readonly string[], baseRef: string) {
    this.#urls = urls;
    this.path = `/merge-queue/owner/repo/${encodeURIComponent(baseRef)}`;
  }

  async ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<WireReply> {
    const url = this.#urls[this.#calls++ % this.#urls.length] ?? '';
    const response = await fetch(url + path, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'json' }, body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
    return {
      status: response.status,
      body: (isJson ? JSON.parse(text) : {}) as WireReply['body'],
      headers: response.headers,
    };
  }

  acquire(build: number, more: Readonly<Record<string, unknown>> = {}, signal?: AbortSignal): Promise<WireReply> {
    return this.ask('POST', `${this.path}/acquire`, { ...aBuild(build), ...more }, signal);
  }

  release(build: number, status: string, more: Readonly<Record<string, unknown>> = {}): Promise<WireReply> {
    return this.ask('POST', `${this.path}/release`, { ...aBuild(build), status, ...more });
  }

  renew(build: number, fencingToken: number): Promise<WireReply> {
    return this.ask('POST', `${this.path}/renew`, { head_sha: `sha${build}`, fencing_token: fencingToken });
  }

  async show(): Promise<WireProvider> {
    return (await this.ask('GET', this.path)).body as unknown as WireProvider;
  }

  async list(): Promise<Readonly<Record<string, WireProvider>>> {
    return (await this.ask('GET', '/merge-queue')).body as unknown as Record<string, WireProvider>;
  }

  /** Of polls by these builds one after another: the status of each build, or the code of the refusal. */
  async polls(...builds: readonly number[]): Promise<(string | number)[]> {
    const said: (string | number)[] = [];
    for (const build of builds) said.push(saidOf(await this.acquire(build)));
    return said;
  }
}

function aBuild(build: number) {
  return { head_sha: `sha${build}`, head_ref: `gh-readonly-queue/main/pr-${build}-abcdef${build}`, priority: build };
}

export function saidOf({ status, body }: WireReply): string | number {
  return status === 200 ? (body.request?.status ?? status) : status;
}

/** null = the answer has none. */
export function stackOf({ body }: WireReply): readonly number[] | null {
  return body.stacked_pull_requests?.map(({ number }) => number) ?? null;
}
