/** The public door of the engine. */
export {
  AdapterMemoryError,
  type AdapterNumbers,
  type AdapterPiece,
  Adapters,
  adapterBytes,
  checkPieces,
  pieceBytes,
} from './adapters.ts';
export * from './anatomy.ts';
export * from './backend.ts';
export { balanceKeys } from './balance.ts';
export * from './config.ts';
export { Engine, type EngineOptions, type EngineStats } from './engine.ts';
export { FORMATS, isWeightFormat, WEIGHT_FORMATS } from './formats.ts';
export { PAGE } from './layout.ts';
export { type Formats, formatsOf, type Tap } from './model.ts';
export { PagesLost } from './paged.ts';
export { adaptedSalt, type Hash, PageNames } from './pages.ts';
export { describePlan, MemoryPlanError, type Plan, type PlanInput, planMemory } from './plan.ts';
export { kvShape, type Passes, Runner } from './runner.ts';
export * from './stage.ts';
export { StagedRunner } from './staged.ts';
export * from './types.ts';
