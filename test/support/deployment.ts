import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

export const root = join(import.meta.dirname, '../..');

export const readText = (file: string) => readFile(join(root, file), 'utf8');

const name = z.string().regex(/^[a-z][a-z0-9-]*$/);
const duration = z.string().regex(/^\d+s$/);

const Healthcheck = z.strictObject({
  // The first word says how the rest is run; a bare list without it would be refused by the engine.
  test: z.tuple([z.literal('CMD')], z.string()),
  interval: duration,
  timeout: duration,
  retries: z.int(),
});

/** The part of the Compose specification that we use; a misspelt key is refused here, since no engine is there to do it. */
const Service = z.strictObject({
  build: z.literal('.').optional(),
  image: z.string().regex(/^[a-z]+:[a-z0-9.-]+$/),
  hostname: name.optional(),
  restart: z.literal('unless-stopped'),
  environment: z.record(z.string(), z.string()).optional(),
  depends_on: z
    .union([
      z.array(name),
      z.record(name, z.strictObject({ condition: z.enum(['service_started', 'service_healthy']) })),
    ])
    .optional(),
  stop_grace_period: duration.optional(),
  networks: z.array(name).optional(),
  ports: z.array(z.string().regex(/^([\d.]+:)?\d+:\d+$/)).optional(),
  volumes: z.array(z.string().regex(/^[\w./-]+:\/[\w./-]+(:ro)?$/)).optional(),
  healthcheck: Healthcheck.optional(),
  read_only: z.boolean().optional(),
  cap_drop: z.tuple([z.literal('ALL')]).optional(),
  security_opt: z.tuple([z.literal('no-new-privileges:true')]).optional(),
});
export type ComposeService = z.infer<typeof Service>;

const Compose = z.strictObject({
  name,
  services: z.record(name, Service),
  networks: z.record(name, z.strictObject({ internal: z.boolean() }).nullable()),
  volumes: z.record(name, z.null()),
});
export type Compose = z.infer<typeof Compose>;

/** docker-compose.yml, merges done as Compose does them, extension fields (x-…) left out. Throws what does not fit. */
export async function readCompose(): Promise<Compose> {
  const document = parse(await readText('docker-compose.yml'), { merge: true }) as Record<string, unknown>;
  return Compose.parse(Object.fromEntries(Object.entries(document).filter(([key]) => !key.startsWith('x-'))));
}

/** Services built from this repository: the replicas. */
export function replicasOf({ services }: Compose): [string, ComposeService][] {
  return Object.entries(services).filter(([, service]) => service.build !== undefined);
}

/** `'20s'` in milliseconds. */
export function milliseconds(text = ''): number {
  const [, amount, unit] = /^(\d+)(ms|s)$/.exec(text) ?? [];
  if (amount === undefined) throw new Error(`${text} is no duration`);
  return Number(amount) * (unit === 's' ? 1000 : 1);
}

/** Leaves tests out, with a printed line, where the machine lacks what they need; with REQUIRE_ALL=1 that is an error. */
export function leaveOut(what: string, why: string): void {
  const message = `${what} is left out: ${why}`;
  if (process.env['REQUIRE_ALL'] === '1') throw new Error(message);
  process.stderr.write(`${message}\n`);
}
