/** Kind `CasbinPolicy`: a Casbin model and policy of the operator's own, asked as a CUSTOM provider by name. */
import { z } from 'zod'

import {
  isAttribute,
  ATTRIBUTES,
  readOperatorModel,
  readPolicyLines,
  type TextFault,
} from '../../casbin/operator/index.ts'
import type { CasbinPolicy, PostgresSource, TextSource } from '../../model/intent.ts'
import { durationFault, labelNameFault, objectNameFault, parseDurationMs } from '../grammar.ts'
import { defineKind, type Kind } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { fields, type Report, text } from '../schema.ts'

const DEFAULT_TIME_MS = 20
const MAX_TIME_MS = 1000
const DEFAULT_REFRESH_MS = 10_000
const MIN_REFRESH_MS = 1000

const keyRef = fields({ name: text(objectNameFault), key: z.string().min(1) })

const source = {
  inline: z.string().min(1).optional(),
  configMap: keyRef.optional(),
}

const model = fields(source, { check: oneOf(['inline', 'configMap']) })

const password = fields(
  { secret: keyRef.optional(), file: z.string().min(1).optional() },
  { check: oneOf(['secret', 'file']) },
)

const postgres = fields(
  {
    host: z.string().min(1),
    port: z.int().min(1).max(65535).optional(),
    database: z.string().min(1),
    user: z.string().min(1),
    table: text((written) =>
      /^[A-Za-z_]\w{0,62}(\.[A-Za-z_]\w{0,62})?$/.test(written)
        ? undefined
        : `found ${JSON.stringify(written)}, expected table or schema.table of letters, digits and _`,
    ).optional(),
    passwordFrom: password.optional(),
    tls: fields({
      mode: z.enum(['VERIFY', 'DISABLE']).optional(),
      ca: model.optional(),
    }).optional(),
    refresh: text(durationFault).optional(),
  },
  {
    check: ({ refresh }, report) => {
      const refreshMs = parseDurationMs(refresh ?? '')
      if (refreshMs !== undefined && refreshMs < MIN_REFRESH_MS) {
        report(['refresh'], `found ${refresh}, expected at least 1s`)
      }
    },
  },
)

const policy = fields(
  { ...source, postgres: postgres.optional() },
  { check: oneOf(['inline', 'configMap', 'postgres']) },
)

const attribute = text((written) =>
  isAttribute(written)
    ? undefined
    : `found ${JSON.stringify(written)}, expected one of ${ATTRIBUTES.join(', ')}, request.headers[name], request`,
)

const spec = fields(
  {
    model,
    policy,
    request: z.record(z.string(), attribute).optional(),
    limits: fields({ time: text(durationFault).optional() }).optional(),
  },
  {
    check: ({ model: written, policy: lines, request = {}, limits = {} }, report) => {
      const timeMs = parseDurationMs(limits.time ?? '') ?? DEFAULT_TIME_MS
      if (timeMs > MAX_TIME_MS) {
        report(['limits', 'time'], `found ${limits.time}, expected at most ${MAX_TIME_MS}ms`)
      }
      if (written.inline !== undefined) checkTexts(written.inline, lines.inline, request, report)
    },
  },
)

/** What stands in the manifest is judged with it; a ConfigMap's text by `analyze`, and before it is in force. */
function checkTexts(
  written: string,
  lines: string | undefined,
  request: Readonly<Record<string, string>>,
  report: Report,
): void {
  const tell = (path: readonly string[], faults: readonly TextFault[]): void => {
    for (const { line, message, hint } of faults) report(path, `line ${line}: ${message}`, hint)
  }
  const read = readOperatorModel(written, request)
  if (read.kind === 'faulty') return tell(['model', 'inline'], read.faults)
  if (lines === undefined) return
  const rows = readPolicyLines(lines, read.model)
  if (rows.kind === 'faulty') tell(['policy', 'inline'], rows.faults)
}

function oneOf(names: readonly string[]): (value: object, report: Report) => void {
  return (value, report) => {
    const given = names.filter((name) => (value as Record<string, unknown>)[name] !== undefined)
    if (given.length === 1) return
    const found = given.length === 0 ? 'none of them' : given.join(' and ')
    report([], `it has ${found}: expected one of ${names.join(', ')}`)
  }
}

type RawSource = z.output<typeof model>

function readSource({ inline, configMap }: RawSource): TextSource {
  if (configMap !== undefined) return { kind: 'config-map', ...configMap }
  return { kind: 'inline', text: inline ?? '' }
}

function readPostgres(written: z.output<typeof postgres>): PostgresSource {
  const { host, port = 5432, database, user, table = 'casbin_rule', passwordFrom, tls } = written
  const secret = passwordFrom?.secret
  const file = passwordFrom?.file
  return {
    kind: 'postgres',
    host,
    port,
    database,
    user,
    table,
    ...(secret === undefined ? {} : { password: { kind: 'secret', ...secret } }),
    ...(file === undefined ? {} : { password: { kind: 'file', path: file } }),
    tls: tls?.mode === 'DISABLE' ? 'disable' : 'verify',
    ...(tls?.ca === undefined ? {} : { ca: readSource(tls.ca) }),
    refreshMs: parseDurationMs(written.refresh ?? '') ?? DEFAULT_REFRESH_MS,
  }
}

export const casbinPolicyKind: Kind = defineKind({
  group: 'redoubt.io',
  versions: ['v1alpha1'],
  kind: 'CasbinPolicy',
  spec,
  check: ({ metadata: { name } }, report) => {
    const fault = labelNameFault(name)
    if (fault !== undefined) report(['metadata', 'name'], `as a provider's name: ${fault}`)
  },
  place: ({ metadata, spec: written }) => ({
    into: 'casbinPolicies',
    value: {
      ...refOf(metadata),
      model: readSource(written.model),
      policy:
        written.policy.postgres === undefined
          ? readSource(written.policy)
          : readPostgres(written.policy.postgres),
      request: written.request ?? {},
      timeMs: parseDurationMs(written.limits?.time ?? '') ?? DEFAULT_TIME_MS,
    } satisfies CasbinPolicy,
  }),
})
