export { publishSchemas } from './publish.ts'
