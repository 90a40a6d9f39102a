import { describe, expect, it } from 'vitest';
import { errorCatalogue } from '../../src/protocol/errors.ts';
import { recordingServer } from './recording-server.ts';

type Json = Record<string, unknown>;
interface Operation {
  operationId: string;
  parameters: { name: string; in: string; required: boolean; schema: Json }[];
  requestBody?: { required: boolean; content: Record<string, { schema: Json }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: Json }> }>;
}
interface Document {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Json> };
}

async function readDocument(): Promise<{ document: Document; routes: string[] }> {
  await using server = recordingServer();
  const document = (await server.app.inject('/openapi.json')).json<Document>();
  const routes = (await server.app.inject('/')).json<{ routes: string[] }>().routes;
  return { document, routes };
}

function operationsOf(document: Document): [name: string, operation: Operation][] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]): [string, Operation] => [
      `${method.toUpperCase()} ${path}`,
      operation,
    ]),
  );
}

/** Calls `visit` for every object of a JSON value. */
function walk(value: unknown, visit: (node: Json) => void): void {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) visit(value as Json);
  for (const inner of Object.values(value)) walk(inner, visit);
}

describe('the OpenAPI document', () => {
  it('has the shape of OpenAPI 3.1', async () => {
    const { document } = await readDocument();
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toMatchObject({ title: 'Signalbox', version: expect.stringMatching(/^\d/) as string });
    for (const [name, operation] of operationsOf(document)) {
      const inPath = [...name.matchAll(/\{([a-z_]+)\}/g)].map((match) => match[1]);
      const declared = operation.parameters.filter((parameter) => parameter.in === 'path');
      expect(declared.map((parameter) => parameter.name).sort(), name).toEqual(inPath.sort());
      expect(declared.every((parameter) => parameter.required)).toBe(true);
      expect(operation.parameters.every((parameter) => typeof parameter.schema === 'object')).toBe(true);
      expect(Object.keys(operation.responses).length, name).toBeGreaterThan(0);
      for (const [status, response] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^[1-5]\d\d$/);
        expect(response.description).not.toBe('');
        for (const media of Object.values(response.content ?? {})) expect(media.schema).toBeTypeOf('object');
      }
    }
  });

  it('refers to components that exist, and to each of them', async () => {
    const { document } = await readDocument();
    const known = Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`);
    const referred = new Set<unknown>();
    walk(document, (node) => {
      if ('$ref' in node) referred.add(node['$ref']);
      expect(node).not.toHaveProperty('$defs');
    });
    expect([...referred].sort()).toEqual(known.sort());
  });

  it('lists every route registered, each under a verb of its own', async () => {
    const { document, routes } = await readDocument();
    const operations = operationsOf(document);
    expect(operations.map(([name]) => name).sort()).toEqual([...routes].sort());
    const ids = operations.map(([, operation]) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(
      expect.arrayContaining(['enqueue', 'take', 'renewHeld', 'releaseHeld', 'listDeadLetters', 'listBlocked']),
    );
    expect(ids).toEqual(
      expect.arrayContaining(['acquire', 'getClaim', 'renew', 'release', 'cancel', 'break', 'configureQueue']),
    );
  });

  it('names codes of the catalogue only, under their own status', async () => {
    const { document } = await readDocument();
    for (const [name, { responses }] of operationsOf(document))
      for (const [status, { content }] of Object.entries(responses)) {
        if (/^[A-Z]+ \/merge-queue/.test(name)) continue;
        const problem = content?.['application/problem+json']?.schema as
          { properties: { code: { enum: (keyof typeof errorCatalogue)[] } } } | undefined;
        expect(problem !== undefined, `${name} ${status}`).toBe(Number(status) >= 400);
        for (const code of problem?.properties.code.enum ?? [])
          expect(errorCatalogue[code].status, `${name} ${code}`).toBe(Number(status));
      }
  });

  it('shows the errors of /merge-queue as mq-lease-service writes them', async () => {
    const { document } = await readDocument();
    const acquire = document.paths['/merge-queue/{owner}/{repo}/{base_ref}/acquire']?.['post'];
    const refused = Object.entries(acquire?.responses ?? {}).filter(([status]) => Number(status) >= 400);
    expect(refused.map(([status]) => Number(status))).toEqual([400, 401, 403, 404, 409, 413, 414, 422, 429, 500, 503]);
    for (const [status, { content }] of refused)
      expect(content, status).toEqual(
        status === '401' || status === '413'
          ? { 'text/plain': { schema: { type: 'string' } } }
          : { 'application/json': { schema: { $ref: '#/components/schemas/MergeError' } } },
      );
  });

  it('closes what clients send and leaves open what they get', async () => {
    const { schemas } = (await readDocument()).document.components;
    expect(schemas['AcquireBody']).toMatchObject({ additionalProperties: false, required: ['holder'] });
    expect(schemas['QueueSettingsChange']).toMatchObject({ additionalProperties: false });
    expect(schemas['QueueSettingsChange']).not.toHaveProperty('required');
    expect(schemas['EnqueueBody']).toMatchObject({ additionalProperties: false });
    expect(schemas['TakeBody']).toMatchObject({ additionalProperties: false, required: ['holder'] });
    for (const name of ['HeldClaim', 'WaitingClaim', 'EndedClaim', 'QueuedRun', 'QueueDetail', 'OrchestratorView'])
      walk(schemas[name], (node) => expect(node['additionalProperties'], name).not.toBe(false));
  });

  it('tells what a batch may hold, each operation with its own fields, and what may come back', async () => {
    const { schemas } = (await readDocument()).document.components;
    const { operations } = schemas['BatchBody']?.['properties'] as {
      operations: Json & { items: { oneOf: { $ref: string }[]; discriminator: { mapping: Record<string, string> } } };
    };
    expect(operations).toMatchObject({ minItems: 1, maxItems: 1000 });
    const { oneOf, discriminator } = operations.items;
    expect(Object.keys(discriminator.mapping)).toEqual([
      'acquire',
      'get',
      'renew',
      'release',
      'cancel',
      'break',
      'enqueue',
    ]);
    expect(Object.values(discriminator.mapping)).toEqual(oneOf.map(({ $ref }) => $ref));
    for (const [op, reference] of Object.entries(discriminator.mapping)) {
      const schema = schemas[reference.split('/').at(-1) ?? ''] as { properties: Json; required: string[] };
      expect(schema, op).toMatchObject({ additionalProperties: false, properties: { op: { const: op } } });
      expect(schema.required, op).toEqual(expect.arrayContaining(['op', 'queue']));
      if ('wait_ms' in schema.properties) expect(schema.properties['wait_ms'], op).toHaveProperty('not', {});
    }
    const body = JSON.stringify(schemas['BatchAnswer']);
    for (const code of ['queue_busy', 'lease_lost', 'payload_too_large', 'forbidden', 'overloaded', 'invalid_request'])
      expect(body).toContain(`"${code}"`);
  });

  it('carries the descriptions, ranges and optional bodies of the protocol', async () => {
    const { document } = await readDocument();
    const { schemas } = document.components;
    expect((schemas['AcquireBody']?.['properties'] as Json)['wait_ms']).toMatchObject({
      type: 'integer',
      maximum: 60_000,
      default: 0,
      description: expect.stringContaining('ms') as string,
    });
    for (const [name, io] of [
      ['EnqueueBody', schemas['EnqueueBody']],
      ['TakenRun', ((schemas['TakeAnswer']?.['properties'] as Json)['claims'] as Json)['items'] as Json],
      ['DeadLetter', ((schemas['DeadLetterPage']?.['properties'] as Json)['dead_letters'] as Json)['items'] as Json],
    ] as const)
      // No type: any JSON.
      expect((io?.['properties'] as Json)['payload'], name).toEqual({
        description: expect.stringContaining('262144 bytes') as string,
      });
    expect(document.paths['/v1/queues/{queue}/claims/{claim_id}/cancel']?.['post']?.requestBody?.required).toBe(false);
    expect(document.paths['/v1/queues/{queue}/acquire']?.['post']?.requestBody?.required).toBe(true);
    const limit = document.paths['/v1/queues']?.['get']?.parameters.find(({ name }) => name === 'limit');
    expect(limit).toMatchObject({
      required: false,
      schema: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
    });
  });
});
