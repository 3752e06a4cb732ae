/** ConfigMap and Secret: texts that other objects refer to, and that nothing here looks into by itself. */
import { z } from 'zod'

import { defineKind, type Kind } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { fields } from '../schema.ts'

type Texts = Readonly<Record<string, string>>

const configMap = fields({
  data: z.record(z.string(), z.string()).optional(),
  binaryData: z.record(z.string(), z.string()).optional(),
  immutable: z.boolean().optional(),
})

export const configMapKind: Kind = defineKind({
  group: '',
  versions: ['v1'],
  kind: 'ConfigMap',
  flat: true,
  spec: configMap,
  place: ({ metadata, spec: { data = {} } }) => ({
    into: 'configMaps',
    value: { ...refOf(metadata), data },
  }),
})

/** What is wrong with a secret is said without saying what it is. */
function secretText(isRight: (text: string) => boolean, message: string): z.ZodUnknown {
  return z.unknown().superRefine((value, context) => {
    if (typeof value === 'string' && isRight(value)) return
    context.addIssue({ code: 'custom', message })
  })
}

const secret = fields({
  data: z
    .record(z.string(), secretText(isBase64, 'it is not base64: put plain text under stringData'))
    .optional(),
  stringData: z
    .record(
      z.string(),
      secretText(() => true, 'it is no text: quote it'),
    )
    .optional(),
  type: z.string().optional(),
  immutable: z.boolean().optional(),
})

export const secretKind: Kind = defineKind({
  group: '',
  versions: ['v1'],
  kind: 'Secret',
  flat: true,
  spec: secret,
  place: ({ metadata, spec: { data = {}, stringData = {} } }) => ({
    into: 'secrets',
    value: { ...refOf(metadata), data: { ...decoded(data as Texts), ...(stringData as Texts) } },
  }),
})

function isBase64(written: string): boolean {
  const packed = written.replace(/\s+/g, '')
  return Buffer.from(packed, 'base64').toString('base64') === packed
}

function decoded(data: Texts): Texts {
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [
      key,
      Buffer.from(value, 'base64').toString('utf8'),
    ]),
  )
}
