/**
 * The four `*.conf` beside this file, as text: a pure folder reads no files. A test holds the two
 * equal; `UPDATE_GOLDEN=1 npx ava test/policy/casbin/**` writes this file anew.
 */
import type { Action } from '../model/index.ts'

/** Casbin's model for each action. */
export const MODELS: Readonly<Record<Action, string>> = {
  ALLOW: `# ALLOW: a request passes when some line of some ALLOW policy matches it (istio-semantics §1.3).
# A workload that no ALLOW policy applies to gets one line that matches everything, named "-".

[request_definition]
r = attempt

[policy_definition]
p = policy, rule, from, to, when

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = fromMatches(r.attempt, p.from) && toMatches(r.attempt, p.to) && whenMatches(r.attempt, p.when)
`,
  DENY: `# DENY: a request that some line of some DENY policy matches is refused (istio-semantics §1.3).

[request_definition]
r = attempt

[policy_definition]
p = policy, rule, from, to, when

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = fromMatches(r.attempt, p.from) && toMatches(r.attempt, p.to) && whenMatches(r.attempt, p.when)
`,
  CUSTOM: `# CUSTOM: a request that some line of a provider matches is put to that provider (istio-semantics §1.11).

[request_definition]
r = attempt

[policy_definition]
p = policy, rule, from, to, when

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = fromMatches(r.attempt, p.from) && toMatches(r.attempt, p.to) && whenMatches(r.attempt, p.when)
`,
  AUDIT: `# AUDIT: a request that some line of a policy matches is reported with its name, and passes (istio-semantics §1.3).

[request_definition]
r = attempt

[policy_definition]
p = policy, rule, from, to, when

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = fromMatches(r.attempt, p.from) && toMatches(r.attempt, p.to) && whenMatches(r.attempt, p.when)
`,
}
