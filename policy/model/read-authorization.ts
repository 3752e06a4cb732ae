/** Strict reading of the authorization part of a bundle. */
import type {
  Action,
  AuthorizationPolicy,
  Condition,
  Operation,
  Rule,
  Source,
} from './authorization.ts'
import { bool, list, object, oneOf, optional, type Reader, text } from './read-json.ts'

const maybeTexts = optional(list(text))

const source: Reader<Source> = object<Source>({
  principals: maybeTexts,
  notPrincipals: maybeTexts,
  requestPrincipals: maybeTexts,
  notRequestPrincipals: maybeTexts,
  namespaces: maybeTexts,
  notNamespaces: maybeTexts,
  serviceAccounts: maybeTexts,
  notServiceAccounts: maybeTexts,
  ipBlocks: maybeTexts,
  notIpBlocks: maybeTexts,
  remoteIpBlocks: maybeTexts,
  notRemoteIpBlocks: maybeTexts,
  trustDomains: maybeTexts,
  notTrustDomains: maybeTexts,
})

const operation: Reader<Operation> = object<Operation>({
  hosts: maybeTexts,
  notHosts: maybeTexts,
  ports: maybeTexts,
  notPorts: maybeTexts,
  methods: maybeTexts,
  notMethods: maybeTexts,
  paths: maybeTexts,
  notPaths: maybeTexts,
})

const condition: Reader<Condition> = object<Condition>({
  key: text,
  values: maybeTexts,
  notValues: maybeTexts,
})

const rule: Reader<Rule> = object<Rule>({
  from: optional(list(source)),
  to: optional(list(operation)),
  when: optional(list(condition)),
})

const action: Reader<Action> = oneOf(['ALLOW', 'DENY', 'CUSTOM', 'AUDIT'])

/** An `AuthorizationPolicy` in a bundle. */
export const authorizationPolicy: Reader<AuthorizationPolicy> = object<AuthorizationPolicy>({
  namespace: text,
  name: text,
  action,
  provider: optional(text),
  dryRun: bool,
  rules: list(rule),
})
