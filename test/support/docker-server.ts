import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { RunningServer } from './database-server.ts';
import { testSettings } from './database-server.ts';

/** Whether a Docker engine answers and SIGNALBOX_TEST_DOCKER does not forbid its use. */
export async function isDockerWanted(): Promise<boolean> {
  if (process.env['SIGNALBOX_TEST_DOCKER'] === '0') return false;
  try {
    await promisify(execFile)('docker', ['info'], { timeout: 5000 });
    return true;
  } catch {
    return false;
  }
}

/** PostgreSQL 18 in a container, with the settings of the local servers. */
export async function startContainer(): Promise<RunningServer> {
  // Imported here because it costs a second that runs without Docker need not pay.
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
  const flags = Object.entries(testSettings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const container = await new PostgreSqlContainer('postgres:18-alpine')
    .withDatabase('signalbox')
    .withUsername('signalbox')
    .withCommand(['postgres', ...flags])
    .start();
  return {
    adminUrl: container.getConnectionUri(),
    poolerUrl: null,
    stop: async () => {
      await container.stop();
    },
  };
}
