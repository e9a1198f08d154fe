/** The public door of the engine. */
export * from './backend.ts';
export * from './config.ts';
export { Engine, type EngineOptions, type EngineStats, formatsOf } from './engine.ts';
export { FORMATS, isWeightFormat, WEIGHT_FORMATS } from './formats.ts';
export type { Formats, LayerWeights, ModelWeights } from './model.ts';
export { type Hash, PageNames } from './pages.ts';
export { describePlan, MemoryPlanError, type Plan, type PlanInput, planMemory } from './plan.ts';
export * from './types.ts';
