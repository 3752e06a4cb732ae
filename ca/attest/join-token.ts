/** Join tokens: how an agent proves its node the first time, and exactly once. */
import { createHash } from 'node:crypto'

import { adminIdOf } from '../admin/administrator.ts'
import { CaError } from '../error.ts'
import type { Database } from '../issue/database.ts'
import type { Ledger } from '../issue/ledger.ts'
import { serverIdOf } from '../server-id.ts'
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from '../spiffe/index.ts'

/** A one-time permission for one agent to prove its node. */
export interface JoinToken {
  /** Lower-case hex of the SHA-256 of the token's text; the token itself is never stored. */
  readonly tokenSha256: string
  readonly agentId: SpiffeId
  /** What the agent may ask for: exact IDs, or prefixes that end in `/*`. */
  readonly scope: readonly string[]
  readonly expiresAt: Temporal.Instant
}

/** An agent that is known, with what it may ask for. */
export interface KnownAgent {
  readonly id: SpiffeId
  readonly scope: readonly string[]
}

/** Tokens and the agents that have used one. */
export interface AgentRegistry {
  /**
   * Takes a token, and notes in the log who let whom in.
   *
   * @throws {CaError} `CA_CONFIG_INVALID` if the token is malformed, of another trust domain, or known already
   */
  readonly add: (token: JoinToken, caller: string) => Promise<void>
  /**
   * Uses a token up and remembers its agent. Of any number of concurrent calls with one token, one
   * succeeds: the row is taken by the statement that finds it unused.
   *
   * @throws {CaError} `CA_TOKEN_REFUSED`, the same for unknown, used and expired
   */
  readonly consume: (token: string, now: Temporal.Instant) => Promise<KnownAgent>
  /**
   * Remembers an agent that proved itself otherwise, and notes in the log by what.
   *
   * @param by - Who vouched for it: `kubernetes:redoubt-system/redoubt-agent`.
   */
  readonly admit: (agent: KnownAgent, by: string) => Promise<void>
  /** The agent with this ID, if it has ever proved itself. */
  readonly find: (id: SpiffeId) => Promise<KnownAgent | undefined>
}

const SHA256_HEX = /^[0-9a-f]{64}$/

/** Bytes of a token's text; ours are 64, and hashing is bounded for anyone. */
const MAX_TOKEN_LENGTH = 256

export interface AgentRegistryDeps {
  readonly queries: Database
  readonly ledger: Ledger
  readonly trustDomain: TrustDomain
  readonly now: () => Temporal.Instant
}

export function createAgentRegistry(deps: AgentRegistryDeps): AgentRegistry {
  const { queries: database, ledger, trustDomain } = deps
  return {
    async add(token, caller) {
      assertToken(token, trustDomain)
      const { tokenSha256: token_sha256, agentId, scope, expiresAt } = token
      const known = await database
        .selectFrom('join_tokens')
        .select('token_sha256')
        .where('token_sha256', '=', token_sha256)
        .executeTakeFirst()
      if (known) throw invalidToken('there is one with this hash already')
      const row = {
        token_sha256,
        agent_id: agentId,
        scope: JSON.stringify(scope),
        expires_at: expiresAt.epochMilliseconds,
        used_at: null,
      }
      const insert = database
        .insertInto('join_tokens')
        .values(row)
        .onConflict((conflict) => conflict.doNothing()) // Whatever shares the commit must not fail by it.
        .compile()
      const detail = JSON.stringify({ agentId, scope, expiresAt: String(expiresAt) })
      const at = deps.now().epochMilliseconds
      const call = { at, caller, action: 'add-join-token', detail, outcome: 'done' }
      await ledger.record({ calls: [call], changes: [insert] })
    },

    async consume(token, now) {
      if (token.length === 0 || token.length > MAX_TOKEN_LENGTH) throw refusedToken()
      return database.transaction().execute(async (transaction) => {
        const row = await transaction
          .updateTable('join_tokens')
          .set({ used_at: now.epochMilliseconds })
          .where('token_sha256', '=', createHash('sha256').update(token).digest('hex'))
          .where('used_at', 'is', null)
          .where('expires_at', '>', now.epochMilliseconds)
          .returning(['agent_id', 'scope'])
          .executeTakeFirst()
        if (!row) throw refusedToken()
        await transaction
          .insertInto('agents')
          .values({ ...row, attested_at: now.epochMilliseconds })
          .onConflict((conflict) => conflict.column('agent_id').doUpdateSet({ scope: row.scope }))
          .execute()
        return knownAgent(row)
      })
    },

    async admit({ id, scope: wanted }, by) {
      const scope = JSON.stringify(wanted)
      const at = deps.now().epochMilliseconds
      const upsert = database
        .insertInto('agents')
        .values({ agent_id: id, scope, attested_at: at })
        .onConflict((conflict) =>
          conflict.column('agent_id').doUpdateSet({ scope, attested_at: at }),
        )
        .compile()
      const detail = JSON.stringify({ agentId: id, scope: wanted })
      const call = { at, caller: by, action: 'attest-agent', detail, outcome: 'done' }
      await ledger.record({ calls: [call], changes: [upsert] })
    },

    async find(id) {
      const row = await database
        .selectFrom('agents')
        .select(['agent_id', 'scope'])
        .where('agent_id', '=', id)
        .executeTakeFirst()
      return row && knownAgent(row)
    },
  }
}

function knownAgent(row: { readonly agent_id: string; readonly scope: string }): KnownAgent {
  return { id: parseSpiffeId(row.agent_id), scope: JSON.parse(row.scope) as readonly string[] }
}

function assertToken({ tokenSha256, agentId, scope }: JoinToken, trustDomain: TrustDomain): void {
  if (!SHA256_HEX.test(tokenSha256)) throw invalidToken('tokenSha256 is not 64 digits of hex')
  for (const entry of [agentId, ...scope]) {
    const id = parseSpiffeId(entry.endsWith('/*') ? entry.slice(0, -2) : entry)
    if (trustDomainOf(id) !== trustDomain) {
      throw invalidToken(`"${entry}" is outside the trust domain "${trustDomain}"`)
    }
    // Nobody is let in by such a name, nor gets one: better said before the token is on its way.
    if (id === serverIdOf(trustDomain))
      throw invalidToken(`"${entry}" is the name of the CA itself`)
    if (id === adminIdOf(trustDomain)) {
      throw invalidToken(`"${entry}" is the name of the administrator`)
    }
  }
}

function invalidToken(why: string): CaError {
  return new CaError('CA_CONFIG_INVALID', `Cannot add a join token: ${why}`)
}

/** One message for every reason: whoever guesses tokens learns nothing from it. */
function refusedToken(): CaError {
  return new CaError(
    'CA_TOKEN_REFUSED',
    'Cannot attest the agent: the join token is unknown, used or expired, expected a fresh one',
  )
}
