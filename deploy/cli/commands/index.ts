export { loadCommands } from './commands.ts'
