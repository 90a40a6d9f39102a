import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSettings, settingNames } from '../../src/config/settings.ts';
import { milliseconds, readCompose, readText, replicasOf, root } from '../support/deployment.ts';
import { environmentOf, imageStage, last, readStages } from '../support/image.ts';

const compose = await readCompose();
const { services } = compose;
const image = imageStage(readStages(await readText('Dockerfile')));
const haproxy = await readText('deploy/haproxy.cfg');
const replicas = replicasOf(compose);
const environments = replicas.map(([, { environment }]) => ({ ...environmentOf(image), ...environment }));

/** A number of deploy/haproxy.cfg, the first that the pattern finds. */
function setTo(pattern: RegExp): string {
  const [, value] = pattern.exec(haproxy) ?? [];
  if (value === undefined) throw new Error(`deploy/haproxy.cfg has nothing like ${pattern}`);
  return value;
}

describe('docker-compose.yml', () => {
  it('is one PostgreSQL 18, three replicas and one door', () => {
    expect(Object.keys(services)).toEqual(['postgres', 'replica-1', 'replica-2', 'replica-3', 'door']);
    expect(services['postgres']?.image).toMatch(/^postgres:18\b/);
    expect(services['door']?.image).toMatch(/^haproxy:/);
  });

  it('names no service, network, volume or file that is not there', async () => {
    for (const [name, service] of Object.entries(services)) {
      const dependencies = service.depends_on ?? [];
      for (const other of Array.isArray(dependencies) ? dependencies : Object.keys(dependencies))
        expect(services, name).toHaveProperty([other]);
      for (const network of service.networks ?? []) expect(compose.networks, name).toHaveProperty([network]);
      for (const volume of service.volumes ?? []) {
        const [source = ''] = volume.split(':');
        if (source.startsWith('.')) expect((await stat(join(root, source))).isFile(), volume).toBe(true);
        else expect(compose.volumes, name).toHaveProperty([source]);
      }
    }
  });

  it('waits for the health only of services that tell theirs', () => {
    const waitedFor = Object.values(services).flatMap(({ depends_on: dependencies = [] }) =>
      Array.isArray(dependencies)
        ? []
        : Object.entries(dependencies).flatMap(([other, { condition }]) =>
            condition === 'service_healthy' ? [other] : [],
          ),
    );
    expect(new Set(waitedFor)).toEqual(new Set(['postgres']));
    // Not by the socket: the server that makes the database listens there too.
    expect(services['postgres']?.healthcheck?.test).toEqual(
      expect.arrayContaining(['CMD', 'pg_isready', '--host=127.0.0.1']),
    );
  });

  it('publishes one port, on loopback, and it is the door’s', () => {
    const published = Object.entries(services).flatMap(([name, { ports = [] }]) => ports.map((port) => [name, port]));
    expect(published).toEqual([['door', `127.0.0.1:8080:${setTo(/bind :(\d+)$/m)}`]]);
  });

  it('keeps the database in a network of its own, which the door is not in', () => {
    expect(compose.networks).toEqual({ default: null, database: { internal: true } });
    expect(services['postgres']?.networks).toEqual(['database']);
    expect(services['door']?.networks).toBeUndefined();
    for (const [, replica] of replicas) expect(replica.networks).toEqual(['default', 'database']);
  });

  it('keeps the data where the image of PostgreSQL 18 has its volume', () => {
    expect(services['postgres']?.volumes).toEqual(['postgres-data:/var/lib/postgresql']);
  });

  it('mounts the configuration where the image of HAProxy reads it, and not to be written', () => {
    expect(services['door']?.volumes).toEqual(['./deploy/haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro']);
  });
});

describe('a replica of docker-compose.yml', () => {
  it('is one of three that are alike', () => {
    expect(replicas).toHaveLength(3);
    for (const [name, replica] of replicas) expect(replica).toEqual({ ...replicas[0]?.[1], hostname: name });
  });

  it('sets nothing that is no setting, and nothing to what a replica refuses', () => {
    for (const [, { environment = {} }] of replicas)
      expect(settingNames).toEqual(expect.arrayContaining(Object.keys(environment)));
    for (const environment of environments)
      expect(readSettings(environment)).toMatchObject({ isLoopback: false, isInsecure: true, port: 8080 });
  });

  it('finds the database under the name, user and password that it is made with', () => {
    const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, ...rest } = services['postgres']?.environment ?? {};
    expect(rest).toEqual({});
    for (const { DATABASE_URL } of environments)
      expect(DATABASE_URL).toBe(`postgresql://${POSTGRES_USER}:${POSTGRES_PASSWORD}@postgres:5432/${POSTGRES_DB}`);
  });

  it('is killed only after it could have stopped', () => {
    for (const [index, [, replica]] of replicas.entries()) {
      const { shutdownDelayMs, shutdownGraceMs } = readSettings(environments[index] ?? {});
      expect(milliseconds(replica.stop_grace_period)).toBeGreaterThan(shutdownDelayMs + shutdownGraceMs + 2000);
    }
  });

  it('has little to do harm with', () => {
    for (const [, replica] of replicas) {
      expect(replica).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
    }
  });
});

describe('deploy/haproxy.cfg', () => {
  it('has exactly the replicas of docker-compose.yml for servers, at the port of the image', () => {
    const servers = [...haproxy.matchAll(/^ {2}server (\S+) (\S+)$/gm)].map(([, name, address]) => [name, address]);
    expect(servers).toEqual(replicas.map(([name]) => [name, `${name}:${last(image, 'EXPOSE')}`]));
    expect(environmentOf(image)['PORT']).toBe(last(image, 'EXPOSE'));
  });

  it('notices that a replica stops while that still serves', () => {
    const noticedMs =
      milliseconds(setTo(/ inter (\d+m?s)/)) +
      (Number(setTo(/ fall (\d+)/)) - 1) * milliseconds(setTo(/ fastinter (\d+m?s)/));
    for (const environment of environments)
      expect(readSettings(environment).shutdownDelayMs).toBeGreaterThanOrEqual(2 * noticedMs);
  });

  it('waits longer than the longest long-poll, and gives up before a replica does', () => {
    for (const side of ['client', 'server']) {
      const ms = milliseconds(setTo(new RegExp(`timeout ${side} (\\d+s)`)));
      expect(ms).toBeGreaterThan(60_000 + 15_000);
      expect(ms).toBeLessThan(90_000);
    }
    // A replica closes its idle connections later than the door stops using them.
    expect(milliseconds(setTo(/timeout http-keep-alive (\d+s)/))).toBeLessThan(
      readSettings({}).http.keepAliveTimeoutMs,
    );
  });

  it('keeps the largest request whole, so that it can be asked of a second replica', () => {
    const { bodyBytesMax, headerBytesMax } = readSettings({}).http;
    expect(Number(setTo(/tune\.bufsize (\d+)/))).toBeGreaterThan(bodyBytesMax + headerBytesMax + 1024);
    expect(haproxy).toMatch(/^ {2}option http-buffer-request$/m);
  });
});
