/** Telemetry (istio-semantics §12). Checked only. */
import { z } from 'zod'

import { defineKind, type Kind, type Warning } from '../kind.ts'
import { fields, text } from '../schema.ts'
import { expressionFault } from './expression.ts'
import { matchLabelsSchema, warnEmptySelector } from './selector.ts'
import { checkAttachment, targetFields } from './target-ref.ts'
import { duration, orNull } from './values.ts'

const METRICS = [
  'ALL_METRICS',
  'REQUEST_COUNT',
  'REQUEST_DURATION',
  'REQUEST_SIZE',
  'RESPONSE_SIZE',
  'TCP_OPENED_CONNECTIONS',
  'TCP_CLOSED_CONNECTIONS',
  'TCP_SENT_BYTES',
  'TCP_RECEIVED_BYTES',
  'GRPC_REQUEST_MESSAGES',
  'GRPC_RESPONSE_MESSAGES',
] as const
const TAG_SOURCES = ['literal', 'environment', 'header', 'formatter'] as const

const filled = z.string().min(1)
const mode = z.enum(['CLIENT_AND_SERVER', 'CLIENT', 'SERVER']).optional()
const providers = z.array(fields({ name: filled })).optional()
const named = fields({ name: filled, defaultValue: z.string().optional() })
const literal = fields({ value: filled })

const customTag = fields(
  {
    literal: literal.optional(),
    environment: named.optional(),
    header: named.optional(),
    formatter: literal.optional(),
  },
  {
    check: (value, report) => {
      if (TAG_SOURCES.filter((source) => value[source]).length > 1)
        report([], `more than one of ${TAG_SOURCES.join(', ')} is set: expected one`)
    },
  },
)

const tracing = fields(
  {
    match: fields({ mode }).optional(),
    providers,
    randomSamplingPercentage: orNull(z.number().min(0).max(100)).optional(),
    disableSpanReporting: orNull(z.boolean()).optional(),
    disableContextPropagation: orNull(z.boolean()).optional(),
    customTags: z.record(z.string(), customTag).optional(),
    useRequestIdForTraceSampling: orNull(z.boolean()).optional(),
    enableIstioTags: orNull(z.boolean()).optional(),
  },
  {
    check: ({ customTags = {} }, report) => {
      if (Object.hasOwn(customTags, '')) report(['customTags', ''], 'a tag needs a name')
    },
  },
)

const tagOverride = fields(
  { operation: z.enum(['UPSERT', 'REMOVE']).optional(), value: z.string().optional() },
  {
    check: ({ operation = 'UPSERT', value }, report) => {
      if (operation === 'UPSERT' && !value) report(['value'], 'it is missing: UPSERT sets it')
      if (operation === 'REMOVE' && value !== undefined) report(['value'], 'REMOVE has none')
    },
  },
)

const override = fields({
  match: fields(
    { metric: z.enum(METRICS).optional(), customMetric: filled.optional(), mode },
    {
      check: ({ metric, customMetric }, report) => {
        if (metric !== undefined && customMetric !== undefined)
          report([], 'both metric and customMetric are set: expected one at most')
      },
    },
  ).optional(),
  disabled: orNull(z.boolean()).optional(),
  tagOverrides: z.record(z.string(), tagOverride).optional(),
})

const metrics = fields({
  providers,
  reportingInterval: duration.optional(),
  overrides: z.array(override).optional(),
})

const accessLogging = fields({
  match: fields({ mode }).optional(),
  providers,
  disabled: orNull(z.boolean()).optional(),
  filter: fields(
    { expression: text(expressionFault).optional() },
    {
      check: ({ expression }, report) => {
        if (expression === undefined) report(['expression'], 'it is missing: expected CEL')
      },
    },
  ).optional(),
})

const spec = fields(
  {
    selector: matchLabelsSchema.optional(),
    ...targetFields,
    tracing: z.array(tracing).optional(),
    metrics: z.array(metrics).optional(),
    accessLogging: z.array(accessLogging).optional(),
  },
  { check: checkAttachment },
)

type Spec = z.output<typeof spec>

function warnSpec({
  selector,
  tracing: traces = [],
  metrics: counted = [],
}: Spec): readonly Warning[] {
  const path = ['spec', 'tracing']
  return [
    ...warnEmptySelector(selector),
    ...(traces.length > 1 ? [{ path, message: 'one of them alone has an effect' }] : []),
    ...traces.flatMap((one, index) =>
      one.providers && one.providers.length > 1
        ? [{ path: [...path, index, 'providers'], message: 'one of them alone has an effect' }]
        : [],
    ),
    ...counted.flatMap(({ overrides = [] }, at) =>
      overrides.flatMap(({ tagOverrides = {} }, index) =>
        Object.hasOwn(tagOverrides, '')
          ? [
              {
                path: ['spec', 'metrics', at, 'overrides', index, 'tagOverrides'],
                message: 'a tag has no name',
              },
            ]
          : [],
      ),
    ),
  ]
}

export const telemetryKind: Kind = defineKind({
  group: 'telemetry.istio.io',
  versions: ['v1', 'v1alpha1'],
  kind: 'Telemetry',
  spec: spec.optional(),
  warn: ({ spec: written }) => (written ? warnSpec(written) : []),
  place: 'spec.accessLogFile of Mesh for the access log; metrics are always on',
})
