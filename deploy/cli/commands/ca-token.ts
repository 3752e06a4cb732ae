import { createHash, randomBytes } from 'node:crypto'
import { resolve } from 'node:path'

import { askMesh } from '../../standalone/admin-client.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { type Command, listOption, textOption } from '../command.ts'
import { parseDuration } from '../duration.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'
import { STATE_OPTION } from '../state-option.ts'
import { writeNew } from '../write-new.ts'

/** `redoubt ca token`: lets one agent in, once. */
export const caToken: Command = {
  name: 'ca token',
  summary: 'write a join token, by which redoubt agent is let in once',
  options: [
    { flags: '--id <spiffe-id>', summary: 'the name of the agent', required: true },
    {
      flags: '--scope <spiffe-id>',
      summary: 'what it may ask for: an ID, or all below one that ends in /*',
      repeat: true,
      required: true,
    },
    { flags: '--ttl <duration>', summary: 'how long it can be used', default: '10m' },
    { flags: '--out <file>', summary: 'a new file, for its owner alone', required: true },
    STATE_OPTION,
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'Let a machine fetch the identity of its database',
      command:
        'redoubt ca token --id spiffe://cluster.local/machine/db-1 --scope spiffe://cluster.local/ns/db/sa/postgres --out token',
    },
    {
      what: 'For all of a namespace, usable for an hour',
      command:
        "redoubt ca token --id spiffe://cluster.local/machine/batch --scope 'spiffe://cluster.local/ns/batch/*' --ttl 1h --out token",
    },
  ],
  async run(io, input, signal) {
    const token = randomBytes(32).toString('base64url')
    const out = textOption(input, 'out') ?? ''
    const expiresAt = io
      .now()
      .add({ milliseconds: parseDuration(textOption(input, 'ttl') ?? '10m') })
    const call = new URLSearchParams({
      tokenSha256: createHash('sha256').update(token).digest('hex'),
      agentId: textOption(input, 'id') ?? '',
      expiresAt: String(expiresAt),
    })
    for (const scope of listOption(input, 'scope')) call.append('scope', scope)
    const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
    await askMesh(state, `/join-token?${call}`, io, signal)
    await writeNew(io, out, `${token}\n`)
    const value = {
      agentId: call.get('agentId'),
      expiresAt: String(expiresAt),
      file: resolve(io.cwd, out),
    }
    print(io, outputFormat(input), value, () => [
      `${value.file} lets ${value.agentId} in, once, until ${value.expiresAt}`,
    ])
    return 0
  },
}
