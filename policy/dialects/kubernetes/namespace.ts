import { z } from 'zod'

import { defineKind, type Kind } from '../kind.ts'
import { fields } from '../schema.ts'

export const namespaceKind: Kind = defineKind({
  group: '',
  versions: ['v1'],
  kind: 'Namespace',
  scope: 'cluster',
  spec: fields({ finalizers: z.array(z.string()).optional() }).optional(),
  place: ({ metadata }) => ({
    into: 'namespaces',
    value: { name: metadata.name, labels: metadata.labels },
  }),
})
