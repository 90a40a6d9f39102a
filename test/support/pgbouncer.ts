import { existsSync } from 'node:fs';
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { findServerOwner } from '../../src/store/embedded/server-owner.ts';
import { BackgroundProcess } from './background-process.ts';
import type { RunningServer } from './database-server.ts';

/** Where PgBouncer is, undefined if it is not installed. Debian puts it where only root's PATH leads. */
export function findPgBouncer(): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return directories.map((directory) => join(directory, 'pgbouncer')).find((file) => existsSync(file));
}

/** Puts a PgBouncer with transaction pooling, for every database there is or will be, in front of a server. */
export async function withPgBouncer(server: RunningServer): Promise<RunningServer> {
  const program = findPgBouncer();
  if (program === undefined) throw new Error('PgBouncer is not installed');
  // It refuses to run as root, as the server does.
  const owner = await findServerOwner();
  const directory = await mkdtemp(join(tmpdir(), 'signalbox-pgbouncer-'));
  const upstream = new URL(server.adminUrl);
  const port = await freePort();
  const [configFile, usersFile] = [join(directory, 'pgbouncer.ini'), join(directory, 'users.txt')];
  await writeFile(usersFile, `"${upstream.username}" "${upstream.password}"\n`, { mode: 0o600 });
  await writeFile(
    configFile,
    `[databases]
* = host=${upstream.hostname} port=${upstream.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${usersFile}
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
ignore_startup_parameters = extra_float_digits
; Each test file has a database of its own; its connections must not count against max_connections for long.
server_idle_timeout = 5
`,
  );
  if (owner !== null) for (const path of [directory, configFile, usersFile]) await chown(path, owner.uid, owner.gid);
  const pooler = await BackgroundProcess.start(program, [configFile], { cwd: '/', ...owner });
  await pooler.line(/process up/);
  const poolerUrl = new URL(server.adminUrl);
  poolerUrl.port = `${port}`;
  return {
    adminUrl: server.adminUrl,
    poolerUrl: poolerUrl.href,
    stop: async () => {
      await pooler.kill();
      await rm(directory, { recursive: true, force: true });
      await server.stop();
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
