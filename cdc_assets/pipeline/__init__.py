"""Pipeline: definition files of Flink CDC pipelines (source, route, sink, pipeline), as streams."""
