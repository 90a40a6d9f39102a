import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../../../migrations');

export interface SqlFile {
  /** Path below `migrations/`, without `.sql`. */
  readonly name: string;
  readonly text: string;
}

/** Numbered, forward-only migrations in order. A name ending in `.breaking` marks one that older programs cannot work with. */
export async function readMigrations(): Promise<readonly SqlFile[]> {
  return readAll((await readdir(root)).filter((file) => /^\d{4}_.+\.sql$/.test(file)).sort());
}

/** The functions and, after them, the views that are applied again whenever their text changes. */
export async function readFunctionSet(): Promise<{ readonly files: readonly SqlFile[]; readonly digest: string }> {
  const files: string[] = [];
  for (const folder of ['functions', 'views']) {
    const paths = (await readdir(join(root, folder), { recursive: true })).filter((path) => path.endsWith('.sql'));
    files.push(...paths.sort().map((path) => `${folder}/${path}`));
  }
  const texts = await readAll(files);
  const digest = createHash('sha256');
  for (const { name, text } of texts) digest.update(`${name}\0${text}\0`);
  return { files: texts, digest: digest.digest('hex') };
}

async function readAll(files: readonly string[]): Promise<readonly SqlFile[]> {
  return Promise.all(
    files.map(async (file) => ({ name: file.replace(/\.sql$/, ''), text: await readFile(join(root, file), 'utf8') })),
  );
}
