# A replica. No build step: Node runs the TypeScript sources as they are. Without the embedded PostgreSQL (optional
# packages), so DATABASE_URL must be set.
FROM node:24-alpine AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:24-alpine
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json LICENSE ./
COPY migrations migrations
COPY src src
# `node`, as a number, by which Kubernetes sees that it is not root. It writes no file: the container may be read-only.
USER 1000:1000
EXPOSE 8080
# Liveness only: a database that is away must not restart the replica. Balancers ask /readyz.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`, { signal: AbortSignal.timeout(2500) }).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# SIGTERM: red for the balancer (SHUTDOWN_DELAY_MS), then finish what is in flight (SHUTDOWN_GRACE_SECONDS), exit 0.
# Whoever stops the container must wait longer than both together before SIGKILL.
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "src/main.ts"]
CMD ["serve"]
