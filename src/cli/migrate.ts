import { readSettings } from '../config/settings.ts';
import { openEmbeddedServer } from '../store/embedded/index.ts';
import { type MigrationStatus, migrate, migrationStatus } from '../store/migrator.ts';
import { exitCode } from './exit-codes.ts';
import type { Environment } from './program.ts';

/** Migrates, or only shows what is pending (then exit 1 if something is). */
export async function migrateCommand(
  environment: Environment,
  { pendingOnly }: { readonly pendingOnly: boolean },
): Promise<number> {
  const settings = readSettings(environment);
  const embedded =
    settings.databaseDirectUrl === undefined
      ? await openEmbeddedServer({ dataDir: settings.dataDir, log: (message) => console.error(message) })
      : undefined;
  try {
    const options = {
      connectionString: embedded?.url ?? settings.databaseDirectUrl ?? '',
      roleTimeouts: settings.database.roleTimeouts,
    };
    const status = await migrationStatus(options);
    for (const line of describe(status)) console.log(line);
    const isPending = status.pending.length > 0 || (status.functions !== 'current' && status.unknown.length === 0);
    if (pendingOnly) return isPending ? exitCode.failed : exitCode.ok;
    const { applied, functionsApplied, schemaIsNewer } = await migrate(options);
    if (schemaIsNewer) console.log('nothing done: the schema is of a newer program');
    else console.log(`applied ${applied.length} migrations${functionsApplied ? ' and the functions' : ''}`);
    return exitCode.ok;
  } finally {
    await embedded?.leave();
  }
}

function describe(status: MigrationStatus): string[] {
  return [
    ...status.pending.map((name) => `pending    ${name}`),
    ...status.unknown.map((name) => `unknown    ${name} (of a newer program)`),
    ...(status.functions === 'changed' || status.functions === 'not_installed'
      ? ['pending    functions and views']
      : []),
    ...(status.pending.length === 0 && status.unknown.length === 0 && status.functions === 'current'
      ? ['nothing is pending']
      : []),
  ];
}
