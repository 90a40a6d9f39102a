import { z } from 'zod';
import type { Health } from '../../protocol/coordinator.ts';
import { SignalboxError } from '../../protocol/errors.ts';
import type { LongPolls } from '../call-context.ts';
import type { HttpApp } from '../operation.ts';

export interface MetricsText {
  /** The Content-Type of `text()`. */
  readonly contentType: string;
  text(): Promise<string>;
}

export interface ServiceRouteOptions {
  readonly health: Health;
  readonly metrics: MetricsText;
  readonly longPolls: LongPolls;
  /** The OpenAPI document; asked for after all routes are registered. */
  readonly openApi: () => Record<string, unknown>;
  /** `GET /v1/queues` and so on, for the index. */
  readonly routeNames: () => string[];
}

const Details = z.record(z.string(), z.unknown()).meta({ description: 'For people; not part of the contract.' });

/** What whoever runs the service asks. Probes add what they like to the query, so it is not checked here. */
export function serviceRoutes(app: HttpApp, options: ServiceRouteOptions): void {
  const { health, metrics, longPolls, openApi, routeNames } = options;

  app.get(
    '/healthz',
    {
      schema: { response: { 200: z.object({ alive: z.literal(true), details: Details }) } },
      config: {
        operation: {
          id: 'liveness',
          summary: '200 as long as the process lives, whatever the database does.',
          tag: 'service',
          needs: 'nothing',
          errors: [],
          whileDraining: true,
        },
      },
    },
    async () => ({ alive: true as const, details: health.liveness().details }),
  );

  app.get(
    '/readyz',
    {
      schema: { response: { 200: z.object({ ready: z.literal(true), details: Details }) } },
      config: {
        operation: {
          id: 'readiness',
          summary: '200 while this replica can serve, else 503 with the reason as its code.',
          tag: 'service',
          needs: 'nothing',
          errors: ['database_unavailable', 'database_timeout', 'not_ready'],
          whileDraining: true,
        },
      },
    },
    async () => {
      if (longPolls.draining) throw new SignalboxError('shutting_down');
      const readiness = await health.readiness();
      if (!readiness.ready) throw new SignalboxError(readiness.code, { detail: readiness.detail });
      return { ready: true as const, details: readiness.details };
    },
  );

  app.get(
    '/metrics',
    {
      config: {
        operation: {
          id: 'metrics',
          summary: 'Prometheus metrics.',
          tag: 'service',
          needs: { scope: 'read', queues: 'all' },
          errors: [],
          textMediaType: 'text/plain',
          whileDraining: true,
        },
      },
    },
    async (_request, reply) => reply.header('content-type', metrics.contentType).send(await metrics.text()),
  );

  app.get(
    '/openapi.json',
    {
      schema: { response: { 200: z.record(z.string(), z.unknown()).meta({ description: 'This document.' }) } },
      config: {
        operation: {
          id: 'openApi',
          summary: 'The OpenAPI 3.1 document.',
          tag: 'service',
          needs: 'nothing',
          errors: [],
        },
      },
    },
    async () => openApi(),
  );

  app.get(
    '/',
    {
      schema: { response: { 200: z.object({ service: z.literal('signalbox'), routes: z.array(z.string()) }) } },
      config: {
        operation: { id: 'index', summary: 'The routes by name.', tag: 'service', needs: 'nothing', errors: [] },
      },
    },
    async () => ({ service: 'signalbox' as const, routes: routeNames() }),
  );
}
